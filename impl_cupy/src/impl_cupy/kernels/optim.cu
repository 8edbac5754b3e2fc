// One step of an optimizer for one parameter.
//
// Each thread owns single elements i, i + stride, ... below count. Every array has count elements
// of Real and is C-contiguous; no two of them may overlap, but for grad, which is only read and may
// be any array that is not written, and those that are neither read nor written.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }

// What every step starts with: the gradient, turned round or not, with the decay added.
template <typename Real>
__device__ __forceinline__ Real slope_of(Real p, Real grad, Real weight_decay, int maximize) {
    Real g = maximize ? -grad : grad;
    return weight_decay == Real(0) ? g : g + weight_decay * p;
}

// p         in and out  the parameter
// grad      in          its gradient
// velocity  in and out  the running sum of gradients; not touched where momentum is 0
// first                 whether velocity holds nothing yet: it becomes the gradient then
template <typename Real>
__device__ void sgd_step(Real* p, const Real* grad, Real* velocity, Real lr, Real momentum,
                         Real dampening, Real weight_decay, int nesterov, int maximize, int first,
                         long long count) {
    FOR_EACH_INDEX(i, count) {
        Real direction = slope_of(p[i], grad[i], weight_decay, maximize);
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
// most        in and out  the largest square so far; not touched unless has_most
// keep_mean, add_mean      beta1 and 1 - beta1; keep_square, add_square  beta2 and 1 - beta2
// weight_decay, keep       what is added to the gradient, and what p is multiplied with
// step_size                lr / (1 - beta1^t)
// root_scale               sqrt(1 - beta2^t)
template <typename Real>
__device__ void adam_step(Real* p, const Real* grad, Real* mean, Real* square, Real* most,
                          Real keep_mean, Real add_mean, Real keep_square, Real add_square,
                          Real eps, Real weight_decay, Real keep, Real step_size, Real root_scale,
                          int maximize, int has_most, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real g = slope_of(p[i], grad[i], weight_decay, maximize);
        Real m = keep_mean * mean[i] + add_mean * g;
        Real v = keep_square * square[i] + add_square * (g * g);
        mean[i] = m;
        square[i] = v;
        if (has_most) {
            v = v < most[i] ? most[i] : v;
            most[i] = v;
        }
        p[i] = p[i] * keep - step_size * (m / (root(v) / root_scale + eps));
    }
}

// p         in and out  the parameter
// grad      in          its gradient
// square    in and out  running mean of its square
// mean      in and out  running mean of the gradient; not touched unless is_centered
// velocity  in and out  running sum of the steps; not touched where momentum is 0
// keep, add             alpha and 1 - alpha
template <typename Real>
__device__ void rmsprop_step(Real* p, const Real* grad, Real* square, Real* mean, Real* velocity,
                             Real lr, Real keep, Real add, Real eps, Real weight_decay,
                             Real momentum, int is_centered, int maximize, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real g = slope_of(p[i], grad[i], weight_decay, maximize);
        Real v = keep * square[i] + add * (g * g);
        square[i] = v;
        if (is_centered) {
            Real m = keep * mean[i] + add * g;
            mean[i] = m;
            v -= m * m;
        }
        Real direction = g / (root(v) + eps);
        if (momentum != Real(0)) {
            direction += momentum * velocity[i];
            velocity[i] = direction;
        }
        p[i] -= lr * direction;
    }
}

// p       in and out  the parameter
// grad    in          its gradient
// square  in and out  sum of its squares
// lr                  the rate of this step
template <typename Real>
__device__ void adagrad_step(Real* p, const Real* grad, Real* square, Real lr, Real eps,
                             Real weight_decay, int maximize, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real g = slope_of(p[i], grad[i], weight_decay, maximize);
        Real v = square[i] + g * g;
        square[i] = v;
        p[i] -= lr * (g / (root(v) + eps));
    }
}

#define VARIANTS(Real)                                                                             \
    extern "C" __global__ void sgd_step_##Real(                                                    \
        Real* p, const Real* grad, Real* velocity, Real lr, Real momentum, Real dampening,         \
        Real weight_decay, int nesterov, int maximize, int first, long long count) {               \
        sgd_step<Real>(p, grad, velocity, lr, momentum, dampening, weight_decay, nesterov,         \
                       maximize, first, count);                                                    \
    }                                                                                              \
    extern "C" __global__ void adam_step_##Real(                                                   \
        Real* p, const Real* grad, Real* mean, Real* square, Real* most, Real keep_mean,           \
        Real add_mean, Real keep_square, Real add_square, Real eps, Real weight_decay, Real keep,  \
        Real step_size, Real root_scale, int maximize, int has_most, long long count) {            \
        adam_step<Real>(p, grad, mean, square, most, keep_mean, add_mean, keep_square, add_square, \
                        eps, weight_decay, keep, step_size, root_scale, maximize, has_most,        \
                        count);                                                                    \
    }                                                                                              \
    extern "C" __global__ void rmsprop_step_##Real(                                                \
        Real* p, const Real* grad, Real* square, Real* mean, Real* velocity, Real lr, Real keep,   \
        Real add, Real eps, Real weight_decay, Real momentum, int is_centered, int maximize,       \
        long long count) {                                                                         \
        rmsprop_step<Real>(p, grad, square, mean, velocity, lr, keep, add, eps, weight_decay,      \
                           momentum, is_centered, maximize, count);                                \
    }                                                                                              \
    extern "C" __global__ void adagrad_step_##Real(Real* p, const Real* grad, Real* square,        \
                                                   Real lr, Real eps, Real weight_decay,           \
                                                   int maximize, long long count) {                \
        adagrad_step<Real>(p, grad, square, lr, eps, weight_decay, maximize, count);               \
    }

VARIANTS(float)
VARIANTS(double)
