// Windows over the last two axes of (N, C, H, W): what convolutions and pools move and add up.
//
// Along an axis there are `places` windows of `kernel` elements that lie `dilation` apart; window t
// begins at stride t - front, and what lies outside the axis does not count. Each axis is six
// numbers in the order of `Axis`. Arrays are C-contiguous, and none may overlap another. What is
// added up has one owner each, which adds in one order: no atomics. Sums are formed in double.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

struct Axis {
    int size, places, kernel, stride, front, dilation;

    // Where element k of window t lies.
    __device__ int at(int t, int k) const { return t * stride + k * dilation - front; }

    __device__ bool holds(int position) const { return position >= 0 && position < size; }

    // Which window has `position` as its element k, or -1.
    __device__ int window(int position, int k) const {
        int offset = position + front - k * dilation;
        if (offset < 0 || offset % stride != 0) return -1;
        return offset / stride < places ? offset / stride : -1;
    }
};

#define AXIS(name)                                                                         \
    long long name##_size, long long name##_places, long long name##_kernel,               \
        long long name##_stride, long long name##_front, long long name##_dilation
#define MAKE_AXIS(name)                                                                    \
    Axis{(int)name##_size, (int)name##_places, (int)name##_kernel, (int)name##_stride,     \
         (int)name##_front, (int)name##_dilation}

// Take a number apart: return the rest by a size, and leave the quotient.
__device__ __forceinline__ int next_index(long long& left, long long size) {
    long long quotient = left / size;
    int index = (int)(left - quotient * size);
    left = quotient;
    return index;
}

// x        (N, C, H, W)                      in
// columns  (C, kernels, N, places)           out  kernels and places along both axes
// count                                      in   C * N * places: a thread owns a window
template <typename Real>
__device__ void unfold(const Real* x, Real* columns, long long N, long long C, Axis h, Axis w,
                       long long count) {
    long long stretch = N * h.places * w.places;
    FOR_EACH_INDEX(i, count) {
        long long left = i;
        int column = next_index(left, w.places), row = next_index(left, h.places);
        long long n = next_index(left, N), c = left;
        const Real* plane = x + (n * C + c) * h.size * w.size;
        Real* out = columns + c * h.kernel * w.kernel * stretch + (i - c * stretch);
        for (int a = 0; a < h.kernel; ++a) {
            long long y = h.at(row, a);
            for (int b = 0; b < w.kernel; ++b, out += stretch) {
                int z = w.at(column, b);
                *out = h.holds(y) && w.holds(z) ? plane[y * w.size + z] : Real(0);
            }
        }
    }
}

// The transpose of unfold: every element of the result is the sum of those that were made of it.
// columns  (C, kernels, N, places)  in
// bias     (C,)                     in   added; read only if has_bias
// x        (N, C, H, W)             out
// count                             in   elements of x: a thread owns one
template <typename Real>
__device__ void fold(const Real* columns, const Real* bias, Real* x, int has_bias, long long N,
                     long long C, Axis h, Axis w, long long count) {
    long long places = (long long)h.places * w.places;
    FOR_EACH_INDEX(i, count) {
        long long left = i;
        int column = next_index(left, w.size), row = next_index(left, h.size);
        long long c = next_index(left, C), n = left;
        double sum = has_bias ? (double)bias[c] : 0.0;
        for (int a = 0; a < h.kernel; ++a) {
            long long t = h.window(row, a);
            if (t < 0) continue;
            for (int b = 0; b < w.kernel; ++b) {
                int u = w.window(column, b);
                if (u < 0) continue;
                long long kernel = (c * h.kernel + a) * w.kernel + b;
                sum += (double)columns[(kernel * N + n) * places + t * w.places + u];
            }
        }
        x[i] = (Real)sum;
    }
}

#define VARIANTS(Real)                                                                           \
    extern "C" __global__ void unfold_##Real(const Real* x, Real* columns, long long N,          \
                                             long long C, AXIS(h), AXIS(w), long long count) {   \
        unfold<Real>(x, columns, N, C, MAKE_AXIS(h), MAKE_AXIS(w), count);                       \
    }                                                                                            \
    extern "C" __global__ void fold_##Real(const Real* columns, const Real* bias, Real* x,       \
                                           int has_bias, long long N, long long C, AXIS(h),      \
                                           AXIS(w), long long count) {                           \
        fold<Real>(columns, bias, x, has_bias, N, C, MAKE_AXIS(h), MAKE_AXIS(w), count);         \
    }

VARIANTS(float)
VARIANTS(double)
