// h_t = a_t h_{t-1} + b_t along one axis, and its gradient.
//
// Arrays lie as (outer, T, inner), C-contiguous. A thread owns lines, one for each outer and inner
// index, of which there are `count`, and goes along each from step to step: threads side by side
// read numbers side by side where inner is more than 1. With is_reverse the steps run from T - 1
// down. Products of several a would run in fewer rounds, but overflow where the results do not.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

// Where the first step of a line to run is.
__device__ inline long long begin(long long line, int is_reverse, long long T, long long inner) {
    long long outer = line / inner;
    return (outer * T + (is_reverse ? T - 1 : 0)) * inner + line - outer * inner;
}

// a, b  (outer, T, inner)  in
// h0    (outer, inner)     in   read only if has_h0; without it the first step is b alone
// h     (outer, T, inner)  out
// No array may overlap another.
template <typename Real>
__device__ void recurrence_forward(const Real* a, const Real* b, const Real* h0, Real* h,
                                   int has_h0, int is_reverse, long long T, long long inner,
                                   long long count) {
    long long stride = is_reverse ? -inner : inner;
    FOR_EACH_INDEX(line, count) {
        long long at = begin(line, is_reverse, T, inner);
        Real state;
        for (long long t = 0; t < T; ++t, at += stride) {
            if (t > 0) {
                state = a[at] * state + b[at];
            } else {
                state = has_h0 ? a[at] * h0[line] + b[at] : b[at];
            }
            h[at] = state;
        }
    }
}

// a, h     (outer, T, inner)  in   h as it was computed
// h0       (outer, inner)     in   read only if has_h0
// grad     (outer, T, inner)  in   the gradient of h
// grad_a   (outer, T, inner)  out  s_t h_{t-1}, of s_t = grad_t + a_{t+1} s_{t+1}; 0 at the first
//                                  step if not has_h0; written only if has_grad_a
// grad_b   (outer, T, inner)  out  s_t
// grad_h0  (outer, inner)     out  a_0 s_0, written only if has_h0
// No array may overlap another, but for those that are neither read nor written.
template <typename Real>
__device__ void recurrence_backward(const Real* a, const Real* h, const Real* h0, const Real* grad,
                                    Real* grad_a, Real* grad_b, Real* grad_h0, int has_h0,
                                    int has_grad_a, int is_reverse, long long T, long long inner,
                                    long long count) {
    long long stride = is_reverse ? -inner : inner;
    FOR_EACH_INDEX(line, count) {
        long long at = begin(line, is_reverse, T, inner) + (T - 1) * stride;
        Real later = Real(0);
        for (long long t = T - 1; t >= 0; --t, at -= stride) {
            Real sum = grad[at] + later;
            grad_b[at] = sum;
            if (has_grad_a) {
                if (t > 0) {
                    grad_a[at] = sum * h[at - stride];
                } else {
                    grad_a[at] = has_h0 ? sum * h0[line] : Real(0);
                }
            }
            later = a[at] * sum;
        }
        if (has_h0) grad_h0[line] = later;
    }
}

#define VARIANTS(Real)                                                                         \
    extern "C" __global__ void recurrence_forward_##Real(                                      \
        const Real* a, const Real* b, const Real* h0, Real* h, int has_h0, int is_reverse,     \
        long long T, long long inner, long long count) {                                       \
        recurrence_forward<Real>(a, b, h0, h, has_h0, is_reverse, T, inner, count);            \
    }                                                                                          \
    extern "C" __global__ void recurrence_backward_##Real(                                     \
        const Real* a, const Real* h, const Real* h0, const Real* grad, Real* grad_a,          \
        Real* grad_b, Real* grad_h0, int has_h0, int has_grad_a, int is_reverse, long long T,  \
        long long inner, long long count) {                                                    \
        recurrence_backward<Real>(a, h, h0, grad, grad_a, grad_b, grad_h0, has_h0, has_grad_a, \
                                  is_reverse, T, inner, count);                                \
    }

VARIANTS(float)
VARIANTS(double)
