// Normalization: (x - mean) / sqrt(var + eps) * weight + bias, and its gradient.
//
// Arrays of rows are (rows, D), C-contiguous; none may overlap another, but for those that are not
// read. The 32 threads of a warp own a row together, and stride over the rows that the grid does
// not cover: blocks have a multiple of 32 threads, and count = 32 * rows. Sums are formed in
// double, the variance of what is left when the mean is taken away.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

// The sum over a warp, in the same order for every thread of it.
__device__ inline double warp_sum(double value) {
    for (int distance = 16; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

// Which of the weights an element has: row r belongs to group r % groups, and `spatial` neighbours
// share one. With 1 and 1 every row has all D of them.
__device__ inline long long weight_of(long long row, long long j, long long groups,
                                      long long spatial, long long D) {
    if (spatial != 1) j /= spatial;
    return groups == 1 ? j : row % groups * (D / spatial) + j;
}

// x        (rows, D)  in
// weight   see above  in   read only if has_weight
// bias     see above  in   read only if has_bias
// y        (rows, D)  out
// moments  (rows, 2)  out  the mean, 0 unless is_centered, and 1 / sqrt(mean of squares + eps)
template <typename Real>
__device__ void norm_forward(const Real* x, const Real* weight, const Real* bias, Real* y,
                             double* moments, int has_weight, int has_bias, int is_centered,
                             Real eps, long long groups, long long spatial, long long D,
                             long long count) {
    FOR_EACH_INDEX(i, count) {
        long long row = i / 32, lane = i % 32;
        const Real* own = x + row * D;
        double sum = 0.0, squares = 0.0;
        if (is_centered)
            for (long long j = lane; j < D; j += 32) sum += own[j];
        double mean = warp_sum(sum) / D;
        for (long long j = lane; j < D; j += 32) {
            double left = own[j] - mean;
            squares += left * left;
        }
        double scale = 1.0 / sqrt(warp_sum(squares) / D + eps);
        if (lane == 0) {
            moments[2 * row] = mean;
            moments[2 * row + 1] = scale;
        }
        for (long long j = lane; j < D; j += 32) {
            double value = (own[j] - mean) * scale;
            long long place = weight_of(row, j, groups, spatial, D);
            if (has_weight) value *= weight[place];
            y[row * D + j] = (Real)(has_bias ? value + bias[place] : value);
        }
    }
}

// x, weight, moments       in   as in norm_forward
// grad         (rows, D)   in   the gradient of y
// grad_x       (rows, D)   out
// grad_weight  (rows, D)   out  each element's part of weight's gradient, only if has_weight
template <typename Real>
__device__ void norm_backward(const Real* x, const Real* weight, const double* moments,
                              const Real* grad, Real* grad_x, Real* grad_weight, int has_weight,
                              int is_centered, long long groups, long long spatial, long long D,
                              long long count) {
    FOR_EACH_INDEX(i, count) {
        long long row = i / 32, lane = i % 32, start = row * D;
        double mean = moments[2 * row], scale = moments[2 * row + 1];
        double sum = 0.0, along = 0.0;
        for (long long j = lane; j < D; j += 32) {
            double arrived = grad[start + j], normal = (x[start + j] - mean) * scale;
            if (has_weight) {
                grad_weight[start + j] = (Real)(arrived * normal);
                arrived *= weight[weight_of(row, j, groups, spatial, D)];
            }
            sum += arrived;
            along += arrived * normal;
        }
        sum = is_centered ? warp_sum(sum) / D : 0.0;
        along = warp_sum(along) / D;
        for (long long j = lane; j < D; j += 32) {
            double arrived = grad[start + j], normal = (x[start + j] - mean) * scale;
            if (has_weight) arrived *= weight[weight_of(row, j, groups, spatial, D)];
            grad_x[start + j] = (Real)((arrived - sum - normal * along) * scale);
        }
    }
}

// From here on: norms of a channel over the batch. Arrays are (N, C, S), and what is of a channel
// (C,); count = N * C * S.

// mean, scale   in   in double
// weight, bias  in   read only if has_weight, has_bias
// y             out  (x - mean) scale weight + bias
template <typename Real>
__device__ void batch_forward(const Real* x, const double* mean, const double* scale,
                              const Real* weight, const Real* bias, Real* y, int has_weight,
                              int has_bias, long long C, long long S, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long c = i / S % C;
        double value = (x[i] - mean[c]) * scale[c];
        if (has_weight) value *= weight[c];
        y[i] = (Real)(has_bias ? value + bias[c] : value);
    }
}

// parts  out  each element's part of weight's gradient, grad (x - mean) scale
template <typename Real>
__device__ void batch_parts(const Real* x, const double* mean, const double* scale,
                            const Real* grad, Real* parts, long long C, long long S,
                            long long count) {
    FOR_EACH_INDEX(i, count) {
        long long c = i / S % C;
        parts[i] = (Real)(grad[i] * ((x[i] - mean[c]) * scale[c]));
    }
}

// sum, along  in   the means over the channel of grad and of the parts, 0 if the moments are fixed
// grad_x      out
template <typename Real>
__device__ void batch_backward(const Real* x, const double* mean, const double* scale,
                               const Real* weight, const Real* grad, const double* sum,
                               const double* along, Real* grad_x, int has_weight, int is_fixed,
                               long long C, long long S, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long c = i / S % C;
        double value = grad[i];
        if (!is_fixed) value -= sum[c] + (x[i] - mean[c]) * scale[c] * along[c];
        grad_x[i] = (Real)(value * scale[c] * (has_weight ? (double)weight[c] : 1.0));
    }
}

// running_mean, running_var  (C,)  in, out  moved by a share towards mean and variance
// tracked                    (1,)  in       1 by it is the share, unless has_share
template <typename Real>
__device__ void batch_update(Real* running_mean, Real* running_var, const long long* tracked,
                             const double* mean, const double* variance, int has_share, Real share,
                             long long count) {
    FOR_EACH_INDEX(c, count) {
        double part = has_share ? (double)share : 1.0 / tracked[0];
        running_mean[c] = (Real)((1.0 - part) * running_mean[c] + part * mean[c]);
        running_var[c] = (Real)((1.0 - part) * running_var[c] + part * variance[c]);
    }
}

#define VARIANTS(Real)                                                                            \
    extern "C" __global__ void norm_forward_##Real(                                               \
        const Real* x, const Real* weight, const Real* bias, Real* y, double* moments,            \
        int has_weight, int has_bias, int is_centered, Real eps, long long groups,                \
        long long spatial, long long D, long long count) {                                        \
        norm_forward<Real>(x, weight, bias, y, moments, has_weight, has_bias, is_centered, eps,   \
                           groups, spatial, D, count);                                            \
    }                                                                                             \
    extern "C" __global__ void norm_backward_##Real(                                              \
        const Real* x, const Real* weight, const double* moments, const Real* grad, Real* grad_x, \
        Real* grad_weight, int has_weight, int is_centered, long long groups, long long spatial,  \
        long long D, long long count) {                                                           \
        norm_backward<Real>(x, weight, moments, grad, grad_x, grad_weight, has_weight,            \
                            is_centered, groups, spatial, D, count);                              \
    }                                                                                             \
    extern "C" __global__ void batch_forward_##Real(                                              \
        const Real* x, const double* mean, const double* scale, const Real* weight,               \
        const Real* bias, Real* y, int has_weight, int has_bias, long long C, long long S,        \
        long long count) {                                                                        \
        batch_forward<Real>(x, mean, scale, weight, bias, y, has_weight, has_bias, C, S, count);  \
    }                                                                                             \
    extern "C" __global__ void batch_parts_##Real(                                                \
        const Real* x, const double* mean, const double* scale, const Real* grad, Real* parts,    \
        long long C, long long S, long long count) {                                              \
        batch_parts<Real>(x, mean, scale, grad, parts, C, S, count);                              \
    }                                                                                             \
    extern "C" __global__ void batch_backward_##Real(                                             \
        const Real* x, const double* mean, const double* scale, const Real* weight,               \
        const Real* grad, const double* sum, const double* along, Real* grad_x, int has_weight,   \
        int is_fixed, long long C, long long S, long long count) {                                \
        batch_backward<Real>(x, mean, scale, weight, grad, sum, along, grad_x, has_weight,        \
                             is_fixed, C, S, count);                                              \
    }                                                                                             \
    extern "C" __global__ void batch_update_##Real(                                               \
        Real* running_mean, Real* running_var, const long long* tracked, const double* mean,      \
        const double* variance, int has_share, Real share, long long count) {                     \
        batch_update<Real>(running_mean, running_var, tracked, mean, variance, has_share, share,  \
                           count);                                                                \
    }

VARIANTS(float)
VARIANTS(double)
