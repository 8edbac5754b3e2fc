// Pointwise functions and their gradients.
//
// Each thread owns single elements i, i + stride, ... below count and nothing else is written.
// Every array has count elements of Real, is C-contiguous and is owned by the caller. An output may
// be the same array as an input: an element is read before it is written, by the same thread.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

// y (out) = 1 / (1 + exp(-x)); only exp(-|x|) is formed, so that nothing overflows.
template <typename Real>
__device__ void sigmoid_forward(const Real* x, Real* y, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real value = x[i];
        Real small = exponential(value < Real(0) ? value : -value);
        y[i] = (value < Real(0) ? small : Real(1)) / (Real(1) + small);
    }
}

// grad_x (out) = grad_y exp(-|x|) / (1 + exp(-|x|))^2, where nothing cancels.
template <typename Real>
__device__ void sigmoid_backward(const Real* grad_y, const Real* x, Real* grad_x, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real small = exponential(x[i] < Real(0) ? x[i] : -x[i]);
        grad_x[i] = grad_y[i] * (small / ((Real(1) + small) * (Real(1) + small)));
    }
}

// grad_x (out) = grad_y (1 - y y), y the tanh's result.
template <typename Real>
__device__ void tanh_backward(const Real* grad_y, const Real* y, Real* grad_x, long long count) {
    FOR_EACH_INDEX(i, count) { grad_x[i] = grad_y[i] * (Real(1) - y[i] * y[i]); }
}

// grad_x (out) = 0 where x <= 0, else grad_y: the subgradient at 0 is 0, and at NaN all passes.
template <typename Real>
__device__ void relu_backward(const Real* grad_y, const Real* x, Real* grad_x, long long count) {
    FOR_EACH_INDEX(i, count) { grad_x[i] = x[i] <= Real(0) ? Real(0) : grad_y[i]; }
}

#define VARIANTS(Real)                                                                           \
    extern "C" __global__ void sigmoid_forward_##Real(const Real* x, Real* y, long long count) { \
        sigmoid_forward<Real>(x, y, count);                                                      \
    }                                                                                            \
    extern "C" __global__ void sigmoid_backward_##Real(const Real* grad_y, const Real* x,        \
                                                       Real* grad_x, long long count) {          \
        sigmoid_backward<Real>(grad_y, x, grad_x, count);                                        \
    }                                                                                            \
    extern "C" __global__ void tanh_backward_##Real(const Real* grad_y, const Real* y,           \
                                                    Real* grad_x, long long count) {             \
        tanh_backward<Real>(grad_y, y, grad_x, count);                                           \
    }                                                                                            \
    extern "C" __global__ void relu_backward_##Real(const Real* grad_y, const Real* x,           \
                                                    Real* grad_x, long long count) {             \
        relu_backward<Real>(grad_y, x, grad_x, count);                                           \
    }

VARIANTS(float)
VARIANTS(double)
