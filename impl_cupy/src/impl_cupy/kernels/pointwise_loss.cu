// Losses of single elements, and their gradients. They are made into operations like the functions
// of `pointwise.cu`, which stands before this text and has what they share. x is the input and t
// the target; a comparison with NaN is false, and is written so that NaN comes through.

template <typename Real>
__device__ inline Real squared_error(Real x, Real t) {
    return (x - t) * (x - t);
}

template <typename Real>
__device__ inline Real squared_error_backward(Real x, Real t, Real grad) {
    return grad * (Real(2) * (x - t));
}

template <typename Real>
__device__ inline Real huber(Real x, Real t, Real delta) {
    Real far = fabs(x - t);
    return far <= delta ? Real(0.5) * far * far : delta * (far - Real(0.5) * delta);
}

template <typename Real>
__device__ inline Real huber_backward(Real x, Real t, Real delta, Real grad) {
    Real d = x - t;
    return grad * (d > delta ? delta : d < -delta ? -delta : d);
}

// With beta 0 the absolute error.
template <typename Real>
__device__ inline Real smooth_error(Real x, Real t, Real beta) {
    Real far = fabs(x - t);
    return far < beta ? Real(0.5) * far * far / beta : far - Real(0.5) * beta;
}

// 0 where x and t are equal, and NaN at NaN.
template <typename Real>
__device__ inline Real smooth_error_backward(Real x, Real t, Real beta, Real grad) {
    Real d = x - t;
    Real inside = d == Real(0) ? Real(0) : grad * (d / beta);
    return d >= beta && d > Real(0) ? grad : d <= -beta && d < Real(0) ? -grad : inside;
}

// A logarithm that is at least -100.
template <typename Real>
__device__ __forceinline__ Real bounded(Real logarithm) {
    return logarithm < Real(-100) ? Real(-100) : logarithm;
}

template <typename Real>
__device__ inline Real binary_entropy(Real x, Real t) {
    return -(t * bounded(log(x)) + (Real(1) - t) * bounded(log1p(-x)));
}

template <typename Real>
__device__ inline Real binary_entropy_backward(Real x, Real t, Real grad) {
    Real spread = x * (Real(1) - x);
    return grad * ((x - t) / (spread < Real(1e-12) ? Real(1e-12) : spread));
}

template <typename Real>
__device__ inline Real binary_entropy_to_target(Real x, Real t, Real grad) {
    return grad * (bounded(log1p(-x)) - bounded(log(x)));
}

template <typename Real>
__device__ inline bool is_no_probability(Real x) {
    return x < Real(0) || x > Real(1);
}

// heavy is the weight of what is positive.
template <typename Real>
__device__ inline Real logit_entropy(Real x, Real t, Real heavy) {
    return heavy * t * softplus(-x) + (Real(1) - t) * softplus(x);
}

template <typename Real>
__device__ inline Real logit_entropy_backward(Real x, Real t, Real heavy, Real grad) {
    return grad * ((Real(1) - t) * sigmoid(x) - heavy * t * sigmoid(-x));
}

template <typename Real>
__device__ inline Real logit_entropy_to_target(Real x, Real t, Real heavy, Real grad) {
    return grad * (heavy * softplus(-x) - softplus(x));
}

template <typename Real>
__device__ inline Real divergence(Real x, Real t) {
    return t == Real(0) ? -t * x : t * (log(t) - x);
}

template <typename Real>
__device__ inline Real divergence_backward(Real x, Real t, Real grad) {
    return -t * grad;
}

template <typename Real>
__device__ inline Real divergence_to_target(Real x, Real t, Real grad) {
    return grad * (log(t) + Real(1) - x);
}

template <typename Real>
__device__ inline Real log_divergence(Real x, Real t) {
    return exponential(t) * (t - x);
}

template <typename Real>
__device__ inline Real log_divergence_backward(Real x, Real t, Real grad) {
    return -exponential(t) * grad;
}

template <typename Real>
__device__ inline Real log_divergence_to_target(Real x, Real t, Real grad) {
    return grad * (exponential(t) * (t - x + Real(1)));
}

// Of the length of a row, of which d is an element: (sum |d|^p)^(1 / p). 0 where that is 0.
template <typename Real>
__device__ inline Real distance_backward(Real d, Real length, Real p, Real grad) {
    if (length == Real(0)) return Real(0);
    Real share = p == Real(2) ? fabs(d) / length : pow(fabs(d) / length, p - Real(1));
    return d == Real(0) ? Real(0) : grad * (d < Real(0) ? -share : share);
}
