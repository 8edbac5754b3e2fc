// The gradient of the cross entropy with class indices.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

// log_p    (N, C, D)  in   logarithms of the probabilities
// target   (N, D)     in   classes, 0 <= target < C
// grad     (N, D)     in   gradients of the single losses
// grad_x   (N, C, D)  out  (exp(log_p) - [c == target]) grad; may be log_p itself
// C, D                in   classes, and elements behind the class axis
// count               in   N * C * D: a thread owns single elements of grad_x
template <typename Real>
__device__ void cross_entropy_backward(const Real* log_p, const long long* target, const Real* grad,
                                       Real* grad_x, long long C, long long D, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long sample = i / (C * D) * D + i % D;
        long long c = i / D % C;
        Real probability = exponential(log_p[i]);
        grad_x[i] = (probability - (c == target[sample] ? Real(1) : Real(0))) * grad[sample];
    }
}

#define VARIANTS(Real)                                                                           \
    extern "C" __global__ void cross_entropy_backward_##Real(                                    \
        const Real* log_p, const long long* target, const Real* grad, Real* grad_x, long long C, \
        long long D, long long count) {                                                          \
        cross_entropy_backward<Real>(log_p, target, grad, grad_x, C, D, count);                  \
    }

VARIANTS(float)
VARIANTS(double)
