// One step of an optimizer for one parameter.
//
// Each thread owns single elements i, i + stride, ... below count. Every array has count elements
// of Real and is C-contiguous; no two of them may overlap, but for grad, which is only read and may
// be any array that is not written.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }

// p         in and out  the parameter
// grad      in          its gradient
// velocity  in and out  the running sum of gradients; not touched where momentum is 0
// first                 whether velocity holds nothing yet: it becomes the gradient then
template <typename Real>
__device__ void sgd_step(Real* p, const Real* grad, Real* velocity, Real lr, Real momentum,
                         Real dampening, Real weight_decay, int nesterov, int first,
                         long long count) {
    FOR_EACH_INDEX(i, count) {
        Real direction = grad[i] + weight_decay * p[i];
        if (momentum != Real(0)) {
            Real v = first ? direction : momentum * velocity[i] + (Real(1) - dampening) * direction;
            velocity[i] = v;
            direction = nesterov ? direction + momentum * v : v;
        }
        p[i] -= lr * direction;
    }
}

// p           in and out  the parameter
// grad        in          its gradient
// mean        in and out  running mean of the gradient
// square      in and out  running mean of its square
// keep_mean, add_mean      beta1 and 1 - beta1; keep_square, add_square  beta2 and 1 - beta2
// step_size                lr / (1 - beta1^t)
// root_scale               sqrt(1 - beta2^t)
template <typename Real>
__device__ void adam_step(Real* p, const Real* grad, Real* mean, Real* square, Real keep_mean,
                          Real add_mean, Real keep_square, Real add_square, Real eps,
                          Real weight_decay, Real step_size, Real root_scale, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real g = grad[i] + weight_decay * p[i];
        Real m = keep_mean * mean[i] + add_mean * g;
        Real v = keep_square * square[i] + add_square * (g * g);
        mean[i] = m;
        square[i] = v;
        p[i] -= step_size * (m / (root(v) / root_scale + eps));
    }
}

#define VARIANTS(Real)                                                                             \
    extern "C" __global__ void sgd_step_##Real(Real* p, const Real* grad, Real* velocity, Real lr, \
                                               Real momentum, Real dampening, Real weight_decay,   \
                                               int nesterov, int first, long long count) {         \
        sgd_step<Real>(p, grad, velocity, lr, momentum, dampening, weight_decay, nesterov, first,  \
                       count);                                                                     \
    }                                                                                              \
    extern "C" __global__ void adam_step_##Real(                                                   \
        Real* p, const Real* grad, Real* mean, Real* square, Real keep_mean, Real add_mean,        \
        Real keep_square, Real add_square, Real eps, Real weight_decay, Real step_size,            \
        Real root_scale, long long count) {                                                        \
        adam_step<Real>(p, grad, mean, square, keep_mean, add_mean, keep_square, add_square, eps,  \
                        weight_decay, step_size, root_scale, count);                               \
    }

VARIANTS(float)
VARIANTS(double)
