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
    return y * (grad - total);
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

// From here on: the gradients of functions of real numbers, in the order of ops-37. x is the
// operand, y the result.
template <typename Real>
__device__ inline Real reciprocal_backward(Real y, Real grad) {
    return -grad * (y * y);
}

template <typename Real>
__device__ inline Real expm1_backward(Real x, Real grad) {
    return grad * exponential(x);
}

template <typename Real>
__device__ inline Real log1p_backward(Real x, Real grad) {
    return grad / (Real(1) + x);
}

template <typename Real>
__device__ inline Real log2_backward(Real x, Real grad) {
    return grad / (x * Real(0.69314718055994530942));
}

template <typename Real>
__device__ inline Real log10_backward(Real x, Real grad) {
    return grad / (x * Real(2.30258509299404568402));
}

template <typename Real>
__device__ inline Real tan_backward(Real y, Real grad) {
    return grad * (Real(1) + y * y);
}

template <typename Real>
__device__ inline Real asin_backward(Real x, Real grad) {
    return grad / sqrt((Real(1) - x) * (Real(1) + x));
}

template <typename Real>
__device__ inline Real acos_backward(Real x, Real grad) {
    return -grad / sqrt((Real(1) - x) * (Real(1) + x));
}

template <typename Real>
__device__ inline Real atan_backward(Real x, Real grad) {
    return grad / (Real(1) + x * x);
}

template <typename Real>
__device__ inline Real sinh_backward(Real x, Real grad) {
    return grad * cosh(x);
}

template <typename Real>
__device__ inline Real cosh_backward(Real x, Real grad) {
    return grad * sinh(x);
}

template <typename Real>
__device__ inline Real asinh_backward(Real x, Real grad) {
    return grad / hypot(Real(1), x);
}

template <typename Real>
__device__ inline Real acosh_backward(Real x, Real grad) {
    return grad / sqrt((x - Real(1)) * (x + Real(1)));
}

template <typename Real>
__device__ inline Real atanh_backward(Real x, Real grad) {
    return grad / ((Real(1) - x) * (Real(1) + x));
}

template <typename Real>
__device__ inline Real error_function(Real x) {
    return erf(x);
}

template <typename Real>
__device__ inline Real erf_backward(Real x, Real grad) {
    return grad * (Real(1.12837916709551257390) * exponential(-x * x));
}

// A weight that is 0 leaves nothing, of an infinite x either.
template <typename Real>
__device__ __forceinline__ Real weighted(Real x, Real weight) {
    return weight == Real(0) ? Real(0) : x * weight;
}

// The derivative of the sigmoid.
template <typename Real>
__device__ __forceinline__ Real sigmoid_slope(Real x) {
    return sigmoid_backward(x, Real(1));
}

template <typename Real>
__device__ inline Real silu(Real x) {
    return weighted(x, sigmoid(x));
}

template <typename Real>
__device__ inline Real silu_backward(Real x, Real grad) {
    return grad * (sigmoid(x) + weighted(x, sigmoid_slope(x)));
}

template <typename Real>
__device__ inline Real softplus(Real x) {
    return (x < Real(0) ? Real(0) : x) + log1p(exponential(x < Real(0) ? x : -x));
}

template <typename Real>
__device__ inline Real softplus_backward(Real x, Real grad) {
    return grad * sigmoid(x);
}

template <typename Real>
__device__ inline Real leaky_relu(Real x, Real slope) {
    return x > Real(0) ? x : slope * x;
}

template <typename Real>
__device__ inline Real leaky_relu_backward(Real x, Real slope, Real grad) {
    return x > Real(0) ? grad : slope * grad;
}

// To the slope.
template <typename Real>
__device__ inline Real slope_backward(Real x, Real grad) {
    return x < Real(0) ? x * grad : Real(0);
}

template <typename Real>
__device__ inline Real elu(Real x, Real alpha, Real scale) {
    return scale * (x > Real(0) ? x : alpha * expm1(x));
}

template <typename Real>
__device__ inline Real elu_backward(Real x, Real alpha, Real scale, Real grad) {
    return scale * grad * (x > Real(0) ? Real(1) : alpha * exponential(x));
}

template <typename Real>
__device__ inline Real bent(Real x, Real beta, Real threshold) {
    return beta * x > threshold ? x : softplus(beta * x) / beta;
}

template <typename Real>
__device__ inline Real bent_backward(Real x, Real beta, Real threshold, Real grad) {
    return beta * x > threshold ? grad : grad * sigmoid(beta * x);
}

template <typename Real>
__device__ inline Real mish(Real x) {
    return weighted(x, tanh(softplus(x)));
}

template <typename Real>
__device__ inline Real mish_backward(Real x, Real grad) {
    Real share = tanh(softplus(x));
    return grad * (share + weighted(x, (Real(1) - share * share) * sigmoid(x)));
}

// The normal distribution below x.
template <typename Real>
__device__ __forceinline__ Real normal_below(Real x) {
    return Real(0.5) * erfc(x * Real(-0.70710678118654752440));
}

template <typename Real>
__device__ inline Real gelu(Real x) {
    return weighted(x, normal_below(x));
}

template <typename Real>
__device__ inline Real gelu_backward(Real x, Real grad) {
    Real density = Real(0.39894228040143267794) * exponential(Real(-0.5) * x * x);
    return grad * (normal_below(x) + weighted(x, density));
}

// What the sigmoid is taken of in the other form: (1 + tanh(u)) / 2 is sigmoid(2 u).
template <typename Real>
__device__ __forceinline__ Real gelu_inner(Real x) {
    return Real(1.59576912160573071176) * (x + Real(0.044715) * x * x * x);
}

template <typename Real>
__device__ inline Real gelu_tanh(Real x) {
    return weighted(x, sigmoid(gelu_inner(x)));
}

template <typename Real>
__device__ inline Real gelu_tanh_backward(Real x, Real grad) {
    Real inner = gelu_inner(x);
    Real steep = Real(1.59576912160573071176) * (Real(1) + Real(0.134145) * x * x);
    return grad * (sigmoid(inner) + weighted(x * steep, sigmoid_slope(inner)));
}

template <typename Real>
__device__ inline Real atan2_to_first(Real x, Real other, Real grad) {
    Real far = hypot(x, other);
    return grad * (other / far / far);
}

template <typename Real>
__device__ inline Real atan2_to_second(Real x, Real other, Real grad) {
    Real far = hypot(x, other);
    return -grad * (x / far / far);
}

// To an operand of which y is the length, or with others the length: 0 where that is 0.
template <typename Real>
__device__ inline Real length_backward(Real operand, Real y, Real grad) {
    return y == Real(0) ? Real(0) : grad * (operand / y);
}

template <typename Real>
__device__ inline Real logaddexp_backward(Real operand, Real rival, Real grad) {
    return grad * sigmoid(operand - rival);
}

// 0 at 0, and NaN at NaN.
template <typename Real>
__device__ inline Real copysign_backward(Real x, Real other, Real grad) {
    return abs_backward(x, copysign(Real(1), other) < Real(0) ? -grad : grad);
}

// Division as Python's: the rest has the sign of b, and quotients are whole.
template <typename Real>
__device__ __forceinline__ void divided_real(Real a, Real b, Real& quotient, Real& rest) {
    rest = fmod(a, b);
    if (b == Real(0)) {
        quotient = a / b;
        return;
    }
    quotient = (a - rest) / b;
    if (rest == Real(0)) {
        rest = copysign(Real(0), b);
    } else if ((b < Real(0)) != (rest < Real(0))) {
        rest += b;
        quotient -= Real(1);
    }
    if (quotient == Real(0)) {
        quotient = copysign(Real(0), a / b);
        return;
    }
    Real whole = floor(quotient);
    quotient = quotient - whole > Real(0.5) ? whole + Real(1) : whole;
}

// Both are 0 where b is; -1 apart, as the least number divided by it is no number.
template <typename Integer>
__device__ __forceinline__ void divided(Integer a, Integer b, Integer& quotient, Integer& rest) {
    rest = 0;
    bool is_signed = Integer(-1) < Integer(0);
    if (b == 0 || (is_signed && b == Integer(-1))) {
        quotient = b == 0 ? Integer(0) : (Integer)(0ull - (unsigned long long)a);
        return;
    }
    quotient = a / b;
    rest = a - quotient * b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient -= 1;
    }
}

__device__ __forceinline__ void divided(float a, float b, float& quotient, float& rest) {
    divided_real(a, b, quotient, rest);
}

__device__ __forceinline__ void divided(double a, double b, double& quotient, double& rest) {
    divided_real(a, b, quotient, rest);
}

template <typename Number>
__device__ inline Number floor_divide(Number x, Number other) {
    Number quotient, rest;
    divided(x, other, quotient, rest);
    return quotient;
}

template <typename Number>
__device__ inline Number remainder_of(Number x, Number other) {
    Number quotient, rest;
    divided(x, other, quotient, rest);
    return rest;
}

// To the divisor.
template <typename Real>
__device__ inline Real remainder_backward(Real x, Real other, Real grad) {
    return -grad * floor_divide(x, other);
}

// Counts that are negative, or not less than the bits, leave nothing but a sign.
template <typename Integer>
__device__ inline Integer shifted_left(Integer x, Integer count) {
    if (count < 0 || count >= Integer(8 * sizeof(Integer))) return 0;
    return (Integer)((unsigned long long)x << count);
}

template <typename Integer>
__device__ inline Integer shifted_right(Integer x, Integer count) {
    if (count < 0 || count >= Integer(8 * sizeof(Integer))) return x < 0 ? -1 : 0;
    return x >> count;
}

// A number's place among all of its dtype, by its bits: -0 and 0 share one.
__device__ __forceinline__ long long ordered(float x) {
    int bits = x == 0.0f ? 0 : __float_as_int(x);
    return bits < 0 ? bits ^ 0x7fffffff : bits;
}

__device__ __forceinline__ long long ordered(double x) {
    long long bits = x == 0.0 ? 0 : __double_as_longlong(x);
    return bits < 0 ? bits ^ 0x7fffffffffffffffll : bits;
}

// Of 64 bits without a sign the upper half goes above.
__device__ __forceinline__ long long ordered(unsigned long long x) {
    return (long long)(x ^ 0x8000000000000000ull);
}

template <typename Integer>
__device__ __forceinline__ long long ordered(Integer x) {
    return (long long)x;
}

// An integer that sorts as a number does, NaN greatest, or the other way round (ops-49).
template <typename Element>
__device__ inline long long sort_key(Element x, bool descending) {
    long long key = x != x ? 0x7fffffffffffffffll : ordered(x);
    return descending ? ~key : key;
}

template <typename Real>
__device__ inline Real squared_distance(Real x, Real mean) {
    return (x - mean) * (x - mean);
}

// scale is 2 by the count that the sum of squared distances is divided by.
template <typename Real>
__device__ inline Real var_backward(Real x, Real mean, Real scale, Real grad) {
    return grad * ((x - mean) * scale);
}

// y is the standard deviation; 0 where that is 0. scale is 1 by the count.
template <typename Real>
__device__ inline Real std_backward(Real x, Real mean, Real y, Real scale, Real grad) {
    return y == Real(0) ? Real(0) : grad * ((x - mean) * scale / y);
}

// Whether x is -inf: no other negative number is twice itself.
template <typename Real>
__device__ __forceinline__ bool is_lowest(Real x) {
    return x < Real(0) && x == Real(2) * x;
}

// exp(x - y) where x is no more than y, and 0 where it is -inf, be y that too.
template <typename Real>
__device__ inline Real ratio(Real x, Real y) {
    return is_lowest(x) ? Real(0) : exponential(x - y);
}

template <typename Real>
__device__ inline Real ratio_backward(Real x, Real y, Real grad) {
    return is_lowest(x) ? Real(0) : grad * exponential(x - y);
}

// A score as a softmax sees it: -inf where a mask shuts its place.
template <typename Real>
__device__ inline Real shut_out(bool is_shut, Real score) {
    return is_shut ? (Real)__int_as_float((int)0xff800000) : score;
}
