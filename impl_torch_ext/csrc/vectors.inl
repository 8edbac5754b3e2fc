// Vectors, the functions of the gates on them, and the product that stays in registers.
//
// This file is included once per instruction set, inside that set's namespace (see targets.h), and
// has no include guard for that reason. IMPL_VECTOR_BYTES is the width of a vector there,
// IMPL_ACCUMULATORS how many vectors a tile may keep in registers.

template <typename T>
struct Simd;

template <>
struct Simd<float> {
    typedef float Vector __attribute__((vector_size(IMPL_VECTOR_BYTES)));
    typedef float Unaligned __attribute__((vector_size(IMPL_VECTOR_BYTES), aligned(4), may_alias));
    typedef std::uint32_t Bits __attribute__((vector_size(IMPL_VECTOR_BYTES)));
    static constexpr int lanes = IMPL_VECTOR_BYTES / 4;
    static constexpr int mantissa = 23;
    static constexpr std::uint32_t exponent_bias = 127;
    // 1.5 * 2^mantissa: adding it rounds to an integer, which is then in the low bits.
    static constexpr float rounder = 12582912.0f;
    static constexpr float ln2_high = 0.693359375f;
    static constexpr float ln2_low = -2.12194440e-4f;
    static constexpr float exp_bound = 88.0f;
    static constexpr float tanh_bound = 10.0f;
    static constexpr int degree = 7;
};

template <>
struct Simd<double> {
    typedef double Vector __attribute__((vector_size(IMPL_VECTOR_BYTES)));
    typedef double Unaligned __attribute__((vector_size(IMPL_VECTOR_BYTES), aligned(8), may_alias));
    typedef std::uint64_t Bits __attribute__((vector_size(IMPL_VECTOR_BYTES)));
    static constexpr int lanes = IMPL_VECTOR_BYTES / 8;
    static constexpr int mantissa = 52;
    static constexpr std::uint64_t exponent_bias = 1023;
    static constexpr double rounder = 6755399441055744.0;
    static constexpr double ln2_high = 0.693145751953125;
    static constexpr double ln2_low = 1.42860682030941723212e-6;
    static constexpr double exp_bound = 708.0;
    static constexpr double tanh_bound = 20.0;
    static constexpr int degree = 13;
};

template <typename T>
using Vector = typename Simd<T>::Vector;

// `count` lanes, the others zero. A full vector is one instruction; the last block of a layer whose
// size is no multiple of the width goes through memory.
template <typename T, bool full>
IMPL_INLINE Vector<T> load(const T* from, int count) {
    if constexpr (full) {
        return *reinterpret_cast<const typename Simd<T>::Unaligned*>(from);
    } else {
        Vector<T> value = {};
        for (int lane = 0; lane < count; ++lane) value[lane] = from[lane];
        return value;
    }
}

template <typename T, bool full>
IMPL_INLINE void store(T* to, Vector<T> value, int count) {
    if constexpr (full) {
        *reinterpret_cast<typename Simd<T>::Unaligned*>(to) = value;
    } else {
        for (int lane = 0; lane < count; ++lane) to[lane] = value[lane];
    }
}

template <typename T>
IMPL_INLINE Vector<T> clamp(Vector<T> x, T bound) {
    const Vector<T> high = bound - Vector<T>{};
    // Written so that a NaN passes through both comparisons.
    x = x > high ? high : x;
    return x < -high ? -high : x;
}

template <typename T>
struct Exponential {
    Vector<T> scale;     // 2^n
    Vector<T> fraction;  // e^r - 1
};

// e^x = 2^n (1 + (e^r - 1)) with n = round(x / ln 2) and r = x - n ln 2, |r| <= ln(2) / 2. The
// Taylor sum of e^r - 1 to `degree` is good to less than half a unit in the last place there.
template <typename T>
IMPL_INLINE Exponential<T> exponential(Vector<T> x) {
    using S = Simd<T>;
    const Vector<T> shifted = x * T(1.4426950408889634) + S::rounder;
    const typename S::Bits bits = (typename S::Bits)shifted;
    const Vector<T> n = shifted - S::rounder;
    const Vector<T> r = (x - n * S::ln2_high) - n * S::ln2_low;
    T factorial = 1;
    for (int i = 2; i <= S::degree; ++i) factorial *= T(i);
    Vector<T> sum = T(1) / factorial - Vector<T>{};
#pragma GCC unroll 16
    for (int i = S::degree; i > 2; --i) {
        factorial /= T(i);
        sum = sum * r + T(1) / factorial;
    }
    Exponential<T> result;
    result.fraction = r + r * r * sum;
    result.scale = (Vector<T>)((bits + S::exponent_bias) << S::mantissa);
    return result;
}

template <typename T>
IMPL_INLINE Vector<T> sigmoid(Vector<T> x) {
    const Exponential<T> e = exponential<T>(clamp<T>(-x, Simd<T>::exp_bound));
    return T(1) / (T(1) + (e.scale + e.scale * e.fraction));
}

// tanh x = u / (u + 2), u = e^(2x) - 1: small arguments keep their relative precision.
template <typename T>
IMPL_INLINE Vector<T> hyperbolic_tangent(Vector<T> x) {
    const Exponential<T> e = exponential<T>(T(2) * clamp<T>(x, Simd<T>::tanh_bound));
    const Vector<T> u = e.scale * e.fraction + (e.scale - T(1));
    return u / (u + T(2));
}

// How a tile finds row m of its left factor at depth k: in a row-major matrix, or in a strip that
// was packed with the rows of one tile side by side.
enum class Left { matrix, strip };

constexpr int rows_of_tile(int vectors) {
    return IMPL_ACCUMULATORS / vectors < 8 ? IMPL_ACCUMULATORS / vectors : 8;
}

// sums[m][v] = sum over k of a(m, k) * panel[k][v], all m * v sums in registers until the end.
template <typename T, int vectors, int rows, Left left>
static void tile(const T* a, std::int64_t stride, const T* panel, std::int64_t depth, T* sums) {
    constexpr int lanes = Simd<T>::lanes;
    Vector<T> sum[rows][vectors] = {};
    for (std::int64_t k = 0; k < depth; ++k) {
        Vector<T> weights[vectors];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v)
            weights[v] = load<T, true>(panel + (k * vectors + v) * lanes, lanes);
#pragma GCC unroll 16
        for (int m = 0; m < rows; ++m) {
            const T value = left == Left::matrix ? a[m * stride + k] : a[k * rows + m];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) sum[m][v] += value * weights[v];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v)
            store<T, true>(sums + (m * vectors + v) * lanes, sum[m][v], lanes);
    }
}

template <typename T, int vectors>
static auto tile_of(int rows) {
    constexpr int most = rows_of_tile(vectors);
    static_assert(most >= 2, "the first two entries of the table below are there for every width");
    using Tile = void (*)(const T*, std::int64_t, const T*, std::int64_t, T*);
    static constexpr Tile table[8] = {
        tile<T, vectors, 1, Left::matrix>,
        tile<T, vectors, 2, Left::matrix>,
        tile < T,
        vectors,
        most >= 3 ? 3 : 1,
        Left::matrix >,
        tile < T,
        vectors,
        most >= 4 ? 4 : 1,
        Left::matrix >,
        tile < T,
        vectors,
        most >= 5 ? 5 : 1,
        Left::matrix >,
        tile < T,
        vectors,
        most >= 6 ? 6 : 1,
        Left::matrix >,
        tile < T,
        vectors,
        most >= 7 ? 7 : 1,
        Left::matrix >
        , tile < T, vectors, most >= 8 ? 8 : 1, Left::matrix >,
    };
    return table[rows - 1];
}

// Multiplies the rows [first, last) of each step of `a`, or those of them that a step has, with the
// panels that are asked for and hands each tile of sums to `finish(panel, row, rows, sums)`. A
// panel is used for all rows before the next one is touched, so that it stays in the nearest cache
// that holds it.
template <typename T, int vectors, typename Finish>
IMPL_INLINE void product(const T* a, std::int64_t stride, const T* panels, std::int64_t depth,
                         Range wanted, Range rows, Steps steps, const Finish& finish) {
    constexpr int most = rows_of_tile(vectors);
    constexpr int lanes = Simd<T>::lanes;
    alignas(64) T sums[most * vectors * lanes];
    // A whole batch is one matrix over all steps: with few samples that is what fills a tile.
    if (rows.first == 0 && rows.last == steps.batch) {
        rows.last = steps.all_rows();
        steps = one_step(rows.last);
    }
    for (std::int64_t p = wanted.first; p < wanted.last; ++p) {
        const T* panel = panels + p * depth * vectors * lanes;
        for (std::int64_t step = 0; step < steps.count; ++step) {
            const std::int64_t here = steps.rows(step), start = steps.start(step);
            const std::int64_t last = start + (here < rows.last ? here : rows.last);
            std::int64_t row = start + rows.first;
            // Tiles of nearly equal height: a tile of one row would cost almost as much as one of
            // four.
            for (std::int64_t left = (last - row + most - 1) / most; left > 0; --left) {
                const int count = static_cast<int>((last - row + left - 1) / left);
                tile_of<T, vectors>(count)(a + row * stride, stride, panel, depth, sums);
                finish(p, row, count, sums);
                row += count;
            }
        }
    }
}

template <typename T>
IMPL_INLINE int lanes_left(std::int64_t unit, std::int64_t units) {
    const std::int64_t left = units - unit;
    return left < Simd<T>::lanes ? static_cast<int>(left) : Simd<T>::lanes;
}

// Calls block.apply<full>(unit, count, sums) for each vector of a panel that is `vectors` vectors
// of neighbouring units.
template <typename T, int vectors, typename Block>
IMPL_INLINE void for_units(std::int64_t panel, std::int64_t units, const T* sums,
                           const Block& block) {
    for (int v = 0; v < vectors; ++v) {
        const std::int64_t unit = (vectors * panel + v) * Simd<T>::lanes;
        if (unit >= units) return;
        const int count = lanes_left<T>(unit, units);
        if (count == Simd<T>::lanes) {
            block.template apply<true>(unit, count, sums + v * Simd<T>::lanes);
        } else {
            block.template apply<false>(unit, count, sums + v * Simd<T>::lanes);
        }
    }
}

// Puts a product, panels of two vectors, into a matrix, or adds it to what is there.
template <typename T>
struct Store {
    T* matrix;
    std::int64_t columns, stride;
    bool add;

    struct Block {
        const Store& to;
        std::int64_t row;
        int rows;

        template <bool full>
        IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
            for (int m = 0; m < rows; ++m) {
                T* at = to.matrix + (row + m) * to.stride + unit;
                Vector<T> sum = load<T, true>(sums + m * 2 * Simd<T>::lanes, count);
                if (to.add) sum += load<T, full>(at, count);
                store<T, full>(at, sum, count);
            }
        }
    };

    void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
        for_units<T, 2>(panel, columns, sums, Block{*this, row, rows});
    }
};

template <typename T>
IMPL_INLINE std::int64_t panels_of(std::int64_t units, int vectors) {
    const std::int64_t width = vectors * Simd<T>::lanes;
    return (units + width - 1) / width;
}
