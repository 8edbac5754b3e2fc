// A comparison with NaN is false. Every element is loaded whatever is chosen, so that compilers
// make vectors of the loops.

template <typename T>
void absolute_loop(const T* grad, const T* x, T* result, std::int64_t count) {
    const T none = __builtin_nan("");
    for (std::int64_t i = 0; i < count; ++i) {
        const T number = x[i], g = grad[i], minus = -g;
        const T rest = number == T(0) ? T(0) : none;
        const T below = number < T(0) ? minus : rest;
        result[i] = number > T(0) ? g : below;
    }
}

template <typename T>
void clamp_loop(const T* grad, const T* x, T low, T high, T* result, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
        const T number = x[i], g = grad[i];
        const T above = number >= low ? g : T(0);
        const T inside = number <= high ? above : T(0);
        result[i] = number == number ? inside : g;
    }
}

template <typename T>
void extremum_loop(const T* grad, const T* mine, const T* other, bool largest, T* result,
                   std::int64_t count) {
    // The smaller of two is the larger of their negatives.
    const T sign = largest ? T(1) : T(-1);
    for (std::int64_t i = 0; i < count; ++i) {
        const T a = sign * mine[i], b = sign * other[i], g = grad[i], half = g * T(0.5);
        const T shared = a == b ? half : T(0);
        const T number = a > b ? g : shared;
        const T none = b == b ? g : half;
        result[i] = a == a ? number : none;
    }
}

// Whether two numbers are equal, or both NaN.
template <typename T>
IMPL_INLINE bool alike(T a, T b) {
    return (a == b) | ((a != a) & (b != b));
}

template <typename T>
void extreme_loop(const T* grad, const T* x, const T* extreme, T* result, std::int64_t n,
                  std::int64_t inner, std::int64_t* numbers, T* shares) {
    if (inner == 1) {
        const T wanted = *extreme;
        std::int64_t number = 0;
        for (std::int64_t i = 0; i < n; ++i) number += alike(x[i], wanted);
        const T share = *grad / static_cast<T>(number);
        for (std::int64_t i = 0; i < n; ++i) result[i] = alike(x[i], wanted) ? share : T(0);
        return;
    }
    for (std::int64_t j = 0; j < inner; ++j) numbers[j] = 0;
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < inner; ++j) numbers[j] += alike(x[i * inner + j], extreme[j]);
    for (std::int64_t j = 0; j < inner; ++j) shares[j] = grad[j] / static_cast<T>(numbers[j]);
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < inner; ++j)
            result[i * inner + j] = alike(x[i * inner + j], extreme[j]) ? shares[j] : T(0);
}
