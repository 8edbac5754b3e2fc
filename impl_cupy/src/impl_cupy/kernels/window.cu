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

    // From here on: windows without gaps. With stride 0 they are those of the adaptive pool, and
    // window t goes from floor(t size / places) to ceil((t + 1) size / places).
    __device__ int begin(int t) const {
        if (stride == 0) return (int)((long long)t * size / places);
        return t * stride - front > 0 ? t * stride - front : 0;
    }

    __device__ int end(int t) const {
        if (stride == 0) return (int)(((long long)(t + 1) * size + places - 1) / places);
        int stop = t * stride - front + kernel;
        return stop < size ? stop : size;
    }

    // How many places window t has inside the axis, and with is_padded inside the padding too.
    __device__ int length(int t, int is_padded) const {
        if (stride == 0 || !is_padded) return end(t) - begin(t);
        int start = t * stride - front, stop = start + kernel;
        return (stop < size + front ? stop : size + front) - start;
    }

    // The first and the last window that hold a position.
    __device__ int first(int position) const {
        if (stride == 0) return (int)((long long)position * places / size);
        int before = position + front - kernel;
        return before < 0 ? 0 : before / stride + 1;
    }

    __device__ int last(int position) const {
        if (stride == 0) return (int)(((long long)(position + 1) * places + size - 1) / size) - 1;
        int t = (position + front) / stride;
        return t < places ? t : places - 1;
    }
};

#define AXIS(name)                                                           \
    long long name##_size, long long name##_places, long long name##_kernel, \
        long long name##_stride, long long name##_front, long long name##_dilation
#define MAKE_AXIS(name)                                                               \
    Axis {                                                                            \
        (int)name##_size, (int)name##_places, (int)name##_kernel, (int)name##_stride, \
            (int)name##_front, (int)name##_dilation                                   \
    }

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

// x        (planes, H, W)    in
// y        (planes, places)  out  the largest of each window; of equals the first, NaN before all
// indices  (planes, places)  out  where it is in its plane, -1 and -inf where no element is inside
// count                      in   planes * places
template <typename Real>
__device__ void max_forward(const Real* x, Real* y, long long* indices, Axis h, Axis w,
                            long long count) {
    FOR_EACH_INDEX(i, count) {
        long long left = i;
        int column = next_index(left, w.places), row = next_index(left, h.places);
        const Real* plane = x + left * h.size * w.size;
        Real best = (Real)__int_as_float((int)0xff800000);
        long long place = -1;
        for (int a = 0; a < h.kernel; ++a) {
            long long at = h.at(row, a);
            if (!h.holds(at)) continue;
            for (int b = 0; b < w.kernel; ++b) {
                int z = w.at(column, b);
                if (!w.holds(z)) continue;
                Real value = plane[at * w.size + z];
                bool is_first_nan = value != value && best == best;
                if (place >= 0 && !(value > best) && !is_first_nan) continue;
                best = value;
                place = at * w.size + z;
            }
        }
        y[i] = best;
        indices[i] = place;
    }
}

// indices, grad  (planes, places)  in
// grad_x         (planes, H, W)    out  the sum of the gradients of the windows that chose it
// count                            in   elements of grad_x: a thread owns one
template <typename Real>
__device__ void max_backward(const long long* indices, const Real* grad, Real* grad_x, Axis h,
                             Axis w, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long left = i;
        int column = next_index(left, w.size), row = next_index(left, h.size);
        long long own = (long long)row * w.size + column, start = left * h.places * w.places;
        double sum = 0.0;
        for (int a = h.kernel - 1; a >= 0; --a) {
            long long t = h.window(row, a);
            if (t < 0) continue;
            for (int b = w.kernel - 1; b >= 0; --b) {
                int u = w.window(column, b);
                if (u < 0) continue;
                long long place = start + t * w.places + u;
                if (indices[place] == own) sum += grad[place];
            }
        }
        grad_x[i] = (Real)sum;
    }
}

// What a mean is divided by: `fixed`, or if that is 0 how many places a window has inside the axes,
// and with is_padded inside the padding too.
__device__ __forceinline__ double divisor(Axis h, Axis w, int t, int u, int is_padded,
                                          long long fixed) {
    if (fixed != 0) return (double)fixed;
    return (double)h.length(t, is_padded) * w.length(u, is_padded);
}

// x  (planes, H, W)    in
// y  (planes, places)  out
// count                in   planes * places
template <typename Real>
__device__ void mean_forward(const Real* x, Real* y, int is_padded, long long fixed, Axis h, Axis w,
                             long long count) {
    FOR_EACH_INDEX(i, count) {
        long long left = i;
        int u = next_index(left, w.places), t = next_index(left, h.places);
        const Real* plane = x + left * h.size * w.size;
        double sum = 0.0;
        for (int a = h.begin(t); a < h.end(t); ++a)
            for (int b = w.begin(u); b < w.end(u); ++b) sum += plane[(long long)a * w.size + b];
        y[i] = (Real)(sum / divisor(h, w, t, u, is_padded, fixed));
    }
}

// The transpose of mean_forward; count is the number of elements of grad_x.
template <typename Real>
__device__ void mean_backward(const Real* grad, Real* grad_x, int is_padded, long long fixed,
                              Axis h, Axis w, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long left = i;
        int column = next_index(left, w.size), row = next_index(left, h.size);
        const Real* plane = grad + left * h.places * w.places;
        double sum = 0.0;
        for (int t = h.first(row); t <= h.last(row); ++t)
            for (int u = w.first(column); u <= w.last(column); ++u)
                sum += plane[(long long)t * w.places + u] / divisor(h, w, t, u, is_padded, fixed);
        grad_x[i] = (Real)sum;
    }
}

#define VARIANTS(Real)                                                                             \
    extern "C" __global__ void unfold_##Real(const Real* x, Real* columns, long long N,            \
                                             long long C, AXIS(h), AXIS(w), long long count) {     \
        unfold<Real>(x, columns, N, C, MAKE_AXIS(h), MAKE_AXIS(w), count);                         \
    }                                                                                              \
    extern "C" __global__ void fold_##Real(const Real* columns, const Real* bias, Real* x,         \
                                           int has_bias, long long N, long long C, AXIS(h),        \
                                           AXIS(w), long long count) {                             \
        fold<Real>(columns, bias, x, has_bias, N, C, MAKE_AXIS(h), MAKE_AXIS(w), count);           \
    }                                                                                              \
    extern "C" __global__ void max_forward_##Real(const Real* x, Real* y, long long* indices,      \
                                                  AXIS(h), AXIS(w), long long count) {             \
        max_forward<Real>(x, y, indices, MAKE_AXIS(h), MAKE_AXIS(w), count);                       \
    }                                                                                              \
    extern "C" __global__ void max_backward_##Real(const long long* indices, const Real* grad,     \
                                                   Real* grad_x, AXIS(h), AXIS(w),                 \
                                                   long long count) {                              \
        max_backward<Real>(indices, grad, grad_x, MAKE_AXIS(h), MAKE_AXIS(w), count);              \
    }                                                                                              \
    extern "C" __global__ void mean_forward_##Real(const Real* x, Real* y, int is_padded,          \
                                                   long long fixed, AXIS(h), AXIS(w),              \
                                                   long long count) {                              \
        mean_forward<Real>(x, y, is_padded, fixed, MAKE_AXIS(h), MAKE_AXIS(w), count);             \
    }                                                                                              \
    extern "C" __global__ void mean_backward_##Real(const Real* grad, Real* grad_x, int is_padded, \
                                                    long long fixed, AXIS(h), AXIS(w),             \
                                                    long long count) {                             \
        mean_backward<Real>(grad, grad_x, is_padded, fixed, MAKE_AXIS(h), MAKE_AXIS(w), count);    \
    }

VARIANTS(float)
VARIANTS(double)
