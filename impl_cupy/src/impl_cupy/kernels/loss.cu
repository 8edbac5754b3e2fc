// Losses of classes, and of sequences without a known alignment (CTC).

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float logarithm(float x) { return logf(x); }
__device__ inline double logarithm(double x) { return log(x); }

// log_p      (N, C, D)  in   logarithms of the probabilities
// target     (N, D)     in   classes, 0 <= target < C, or ignore
// weight     (C,)       in   read only if has_weight
// losses     (N, D)     out  -(1 - e) w[t] log_p[t] - e / C sum(w log_p); 0 where t is ignore
// smoothing             in   e; without it only log_p[t] is read
// C, D                  in   classes, and elements behind the class axis
// count                 in   N * D: a thread owns samples
template <typename Real>
__device__ void nll_forward(const Real* log_p, const long long* target, const Real* weight,
                            Real* losses, int has_weight, Real smoothing, long long ignore,
                            long long C, long long D, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long t = target[i];
        Real loss = Real(0);
        if (t != ignore) {
            const Real* own = log_p + i / D * C * D + i % D;
            loss = -(Real(1) - smoothing) * (has_weight ? weight[t] : Real(1)) * own[t * D];
            if (smoothing != Real(0)) {
                Real sum = Real(0);
                for (long long c = 0; c < C; ++c)
                    sum += has_weight ? weight[c] * own[c * D] : own[c * D];
                loss -= smoothing / C * sum;
            }
        }
        losses[i] = loss;
    }
}

// log_p      (N, C, D)  in   read only if is_soft
// target, weight        in   as in nll_forward
// whole      (1,)       in   the sum of the weights, read only if has_weight
// grad       (N, D)     in   gradients of the single losses
// grad_x     (N, C, D)  out  -q grad, with q = (1 - e) w[t] [c == t] + e / C w[c]; if is_soft
//                            (exp(log_p) sum(q) - q) grad; 0 where t is ignore
// count                 in   N * C * D: a thread owns single elements of grad_x
template <typename Real>
__device__ void nll_backward(const Real* log_p, const long long* target, const Real* weight,
                             const Real* whole, const Real* grad, Real* grad_x, int has_weight,
                             int is_soft, Real smoothing, long long ignore, long long C,
                             long long D, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long sample = i / (C * D) * D + i % D;
        long long c = i / D % C, t = target[sample];
        Real slope = Real(0);
        if (t != ignore) {
            Real chosen = (Real(1) - smoothing) * (has_weight ? weight[t] : Real(1));
            Real q = c == t ? chosen : Real(0);
            if (smoothing != Real(0)) q += smoothing / C * (has_weight ? weight[c] : Real(1));
            if (is_soft) {
                Real sum = has_weight ? whole[0] / C : Real(1);
                slope = (exponential(log_p[i]) * (chosen + smoothing * sum) - q) * grad[sample];
            } else if (c == t) {
                slope = -q * grad[sample];
            }
        }
        grad_x[i] = slope;
    }
}

// The logarithm of a sum of three exponentials; no argument is NaN.
template <typename Real>
__device__ __forceinline__ Real log_sum(Real a, Real b, Real c) {
    Real most = a > b ? a : b;
    most = c > most ? c : most;
    if (most - most != Real(0)) return most;
    return most + logarithm(exponential(a - most) + exponential(b - most) + exponential(c - most));
}

// Whether a path may come to a state from the last but one: between labels that differ.
__device__ inline bool is_skip(const long long* states, long long s) {
    return s % 2 == 1 && s > 1 && states[s] != states[s - 2];
}

// The states of a sequence are blank, label, blank, ..., label, blank; S is their greatest number,
// and 2 size + 1 that of one sequence. The 32 threads of a warp own a sequence together, and
// count = 32 N. `never` is minus infinity, the logarithm of what does not happen.
//
// log_p    (T, N, C)  in
// states   (N, S)     in   their classes
// steps    (N,)       in   lengths of the inputs, at most T
// sizes    (N,)       in   lengths of the targets
// alpha    (N, T, S)  out  logarithms of the sums over the paths up to a state, that one included
// losses   (N,)       out  NaN where a number within the length is NaN
template <typename Real>
__device__ void ctc_forward(const Real* log_p, const long long* states, const long long* steps,
                            const long long* sizes, Real* alpha, Real* losses, Real never,
                            long long T, long long N, long long C, long long S, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long n = i / 32, lane = i % 32, last = 2 * sizes[n], length = steps[n];
        const long long* own = states + n * S;
        int is_spoilt = 0;
        for (long long t = 0; t < length; ++t) {
            const Real* row = log_p + (t * N + n) * C;
            for (long long c = lane; c < C; c += 32) is_spoilt |= row[c] != row[c];
            Real* now = alpha + (n * T + t) * S;
            const Real* before = now - S;
            for (long long s = lane; s <= last; s += 32) {
                Real sum = s < 2 ? Real(0) : never;
                if (t > 0)
                    sum = log_sum(before[s], s > 0 ? before[s - 1] : never,
                                  is_skip(own, s) ? before[s - 2] : never);
                now[s] = sum + row[own[s]];
            }
            __syncwarp();
        }
        is_spoilt = __any_sync(0xffffffffu, is_spoilt);
        if (lane == 0) {
            const Real* ends = alpha + (n * T + length - 1) * S;
            Real sum = last == 0 ? Real(0) : never;
            if (length > 0) sum = log_sum(ends[last], last > 0 ? ends[last - 1] : never, never);
            losses[n] = is_spoilt ? never - never : -sum;
        }
    }
}

// alpha, losses       in   as they were computed
// grad     (N,)       in   gradients of the losses
// beta     (N, 2, S)       space for the sums over the paths from a state on, that one excluded
// shares   (N, T, S)  out  minus the expected number of visits to a state, times grad; zero before,
//                          and written only within the lengths
template <typename Real>
__device__ void ctc_backward(const Real* log_p, const long long* states, const long long* steps,
                             const long long* sizes, const Real* alpha, const Real* losses,
                             const Real* grad, Real* beta, Real* shares, Real never, long long T,
                             long long N, long long C, long long S, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long n = i / 32, lane = i % 32, last = 2 * sizes[n], length = steps[n];
        const long long* own = states + n * S;
        for (long long t = length - 1; t >= 0; --t) {
            const Real* row = log_p + ((t + 1) * N + n) * C;
            const Real* after = beta + (2 * n + (t + 1) % 2) * S;
            Real* now = beta + (2 * n + t % 2) * S;
            for (long long s = lane; s <= last; s += 32) {
                Real sum = s >= last - 1 ? Real(0) : never;
                if (t < length - 1) {
                    sum = log_sum(
                        after[s] + row[own[s]], s < last ? after[s + 1] + row[own[s + 1]] : never,
                        s + 2 <= last && is_skip(own, s + 2) ? after[s + 2] + row[own[s + 2]]
                                                             : never);
                }
                now[s] = sum;
                long long place = (n * T + t) * S + s;
                bool is_dead = alpha[place] == never || sum == never;
                shares[place] =
                    is_dead ? Real(0) : -exponential(alpha[place] + sum + losses[n]) * grad[n];
            }
            __syncwarp();
        }
    }
}

#define VARIANTS(Real)                                                                            \
    extern "C" __global__ void nll_forward_##Real(                                                \
        const Real* log_p, const long long* target, const Real* weight, Real* losses,             \
        int has_weight, Real smoothing, long long ignore, long long C, long long D,               \
        long long count) {                                                                        \
        nll_forward<Real>(log_p, target, weight, losses, has_weight, smoothing, ignore, C, D,     \
                          count);                                                                 \
    }                                                                                             \
    extern "C" __global__ void nll_backward_##Real(                                               \
        const Real* log_p, const long long* target, const Real* weight, const Real* whole,        \
        const Real* grad, Real* grad_x, int has_weight, int is_soft, Real smoothing,              \
        long long ignore, long long C, long long D, long long count) {                            \
        nll_backward<Real>(log_p, target, weight, whole, grad, grad_x, has_weight, is_soft,       \
                           smoothing, ignore, C, D, count);                                       \
    }                                                                                             \
    extern "C" __global__ void ctc_forward_##Real(                                                \
        const Real* log_p, const long long* states, const long long* steps,                       \
        const long long* sizes, Real* alpha, Real* losses, Real never, long long T, long long N,  \
        long long C, long long S, long long count) {                                              \
        ctc_forward<Real>(log_p, states, steps, sizes, alpha, losses, never, T, N, C, S, count);  \
    }                                                                                             \
    extern "C" __global__ void ctc_backward_##Real(                                               \
        const Real* log_p, const long long* states, const long long* steps,                       \
        const long long* sizes, const Real* alpha, const Real* losses, const Real* grad,          \
        Real* beta, Real* shares, Real never, long long T, long long N, long long C, long long S, \
        long long count) {                                                                        \
        ctc_backward<Real>(log_p, states, steps, sizes, alpha, losses, grad, beta, shares, never, \
                           T, N, C, S, count);                                                    \
    }

VARIANTS(float)
VARIANTS(double)
