// Normalization of rows: (x - mean) / sqrt(var + eps) * weight + bias, and its gradient.
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

// x        (rows, D)  in
// weight   (D,)       in   read only if has_weight
// bias     (D,)       in   read only if has_bias
// y        (rows, D)  out
// moments  (rows, 2)  out  the mean, and 1 / sqrt(var + eps)
template <typename Real>
__device__ void norm_forward(const Real* x, const Real* weight, const Real* bias, Real* y,
                             double* moments, int has_weight, int has_bias, Real eps, long long D,
                             long long count) {
    FOR_EACH_INDEX(i, count) {
        long long row = i / 32, lane = i % 32;
        const Real* own = x + row * D;
        double sum = 0.0, squares = 0.0;
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
            if (has_weight) value *= weight[j];
            y[row * D + j] = (Real)(has_bias ? value + bias[j] : value);
        }
    }
}

// x, weight, moments       in   as in norm_forward
// grad         (rows, D)   in   the gradient of y
// grad_x       (rows, D)   out
// grad_weight  (rows, D)   out  each row's part of weight's gradient, written only if has_weight
template <typename Real>
__device__ void norm_backward(const Real* x, const Real* weight, const double* moments,
                              const Real* grad, Real* grad_x, Real* grad_weight, int has_weight,
                              long long D, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long row = i / 32, lane = i % 32, start = row * D;
        double mean = moments[2 * row], scale = moments[2 * row + 1];
        double sum = 0.0, along = 0.0;
        for (long long j = lane; j < D; j += 32) {
            double arrived = has_weight ? (double)grad[start + j] * weight[j] : grad[start + j];
            double normal = (x[start + j] - mean) * scale;
            sum += arrived;
            along += arrived * normal;
            if (has_weight) grad_weight[start + j] = (Real)(grad[start + j] * normal);
        }
        sum = warp_sum(sum) / D;
        along = warp_sum(along) / D;
        for (long long j = lane; j < D; j += 32) {
            double arrived = has_weight ? (double)grad[start + j] * weight[j] : grad[start + j];
            double normal = (x[start + j] - mean) * scale;
            grad_x[start + j] = (Real)((arrived - sum - normal * along) * scale);
        }
    }
}

#define VARIANTS(Real)                                                                            \
    extern "C" __global__ void norm_forward_##Real(                                               \
        const Real* x, const Real* weight, const Real* bias, Real* y, double* moments,            \
        int has_weight, int has_bias, Real eps, long long D, long long count) {                   \
        norm_forward<Real>(x, weight, bias, y, moments, has_weight, has_bias, eps, D, count);     \
    }                                                                                             \
    extern "C" __global__ void norm_backward_##Real(                                              \
        const Real* x, const Real* weight, const double* moments, const Real* grad, Real* grad_x, \
        Real* grad_weight, int has_weight, long long D, long long count) {                        \
        norm_backward<Real>(x, weight, moments, grad, grad_x, grad_weight, has_weight, D, count); \
    }

VARIANTS(float)
VARIANTS(double)
