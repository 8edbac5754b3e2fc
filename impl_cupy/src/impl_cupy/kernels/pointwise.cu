// Pointwise functions and gradients: what becomes of single elements. `launch.pointwise` makes an
// operation on arrays that broadcast of each that is `inline`; helpers are `__forceinline__`. A
// gradient comes last among the arguments; what a function did not choose gets exactly 0 of it, be
// it infinite or NaN.

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

// 1 / (1 + exp(-x)); only exp(-|x|) is formed, so that nothing overflows.
template <typename Real>
__device__ inline Real sigmoid(Real x) {
    Real small = exponential(x < Real(0) ? x : -x);
    return (x < Real(0) ? small : Real(1)) / (Real(1) + small);
}

// Of x, not of the result; nothing cancels.
template <typename Real>
__device__ inline Real sigmoid_backward(Real x, Real grad) {
    Real small = exponential(x < Real(0) ? x : -x);
    return grad * (small / ((Real(1) + small) * (Real(1) + small)));
}

// y is the tanh's result.
template <typename Real>
__device__ inline Real tanh_backward(Real y, Real grad) {
    return grad * (Real(1) - y * y);
}

// The subgradient at 0 is 0, and at NaN all passes.
template <typename Real>
__device__ inline Real relu_backward(Real x, Real grad) {
    return x <= Real(0) ? Real(0) : grad;
}

// 0 at 0, and NaN at NaN.
template <typename Real>
__device__ inline Real abs_backward(Real x, Real grad) {
    Real signed_grad = x < Real(0) ? -grad : x > Real(0) ? grad : x;
    return x == Real(0) ? Real(0) : signed_grad;
}

// Whether an element is the result, where a NaN is one before all numbers.
template <typename Real>
__device__ __forceinline__ bool is_chosen(Real element, Real result) {
    return element == result || element != element;
}

// To one of two operands, of which the larger or the smaller is the result: half of it at ties.
template <typename Real>
__device__ inline Real choice_backward(Real operand, Real rival, Real result, Real grad) {
    Real share = is_chosen(rival, result) ? Real(0.5) * grad : grad;
    return is_chosen(operand, result) ? share : Real(0);
}

// 1 for each of the elements that are the largest or the smallest, to be counted.
template <typename Real>
__device__ inline Real one_if_chosen(Real x, Real result) {
    return is_chosen(x, result) ? Real(1) : Real(0);
}

// To the elements that are the largest or the smallest, `count` of them.
template <typename Real>
__device__ inline Real share_backward(Real x, Real result, Real count, Real grad) {
    return is_chosen(x, result) ? grad / count : Real(0);
}

// Not where x is inside the bounds: a NaN is neither inside nor outside, and passes.
template <typename Real>
__device__ inline Real clip_backward(Real x, Real low, Real high, Real grad) {
    return x < low || x > high ? Real(0) : grad;
}

template <typename Real>
__device__ inline Real where_backward(bool condition, bool wanted, Real grad) {
    return condition == wanted ? grad : Real(0);
}

// y is the root.
template <typename Real>
__device__ inline Real sqrt_backward(Real y, Real grad) {
    return grad * Real(0.5) / y;
}

template <typename Real>
__device__ inline Real square_backward(Real x, Real grad) {
    return grad * (x * Real(2));
}

// To the divisor.
template <typename Real>
__device__ inline Real divisor_backward(Real x, Real other, Real grad) {
    return -(grad / other) * (x / other);
}

// total is the sum of grad y along the axis.
template <typename Real>
__device__ inline Real softmax_backward(Real y, Real total, Real grad) {
    return grad * y - y * total;
}

// y is the logarithm; total is the sum of grad along the axis.
template <typename Real>
__device__ inline Real log_softmax_backward(Real y, Real total, Real grad) {
    return grad - exponential(y) * total;
}

// Whether an index is none of low, ..., high - 1.
template <typename Index>
__device__ inline bool is_outside(Index index, long long low, long long high) {
    return index < low || index >= high;
}

// An index that may count from the end of an axis.
template <typename Index>
__device__ inline long long counted_from_zero(Index index, long long size) {
    return index < 0 ? index + size : (long long)index;
}
