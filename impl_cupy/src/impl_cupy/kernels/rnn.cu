// The pointwise part of one step of the recurrent layers, over the whole batch.
//
// N, H: batch, hidden size. The rows of all steps, S of them, lie in one matrix. A step's are those
// from `row` on, as many of the batch as run in it, and the states before it those from `before`
// on, in an array that begins with the first states or ends with them: S + N rows. A thread owns
// units (sample, j) of the step with all their gates, and strides over what the grid does not
// cover; count = the step's rows * H. Arrays are C-contiguous and belong to the caller; none may
// overlap another, but for the states before and after, whose rows for one step lie apart, and for
// from_x, in whose place the gates may be written.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

__device__ inline float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ inline double hyperbolic_tangent(double x) { return tanh(x); }
__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float with_sign(float x, float sign) { return copysignf(x, sign); }
__device__ inline double with_sign(double x, double sign) { return copysign(x, sign); }

// a / b, neither negative; 32 bits are divided several times as fast as 64.
__device__ inline long long quotient(long long a, long long b) {
    return (a | b) >> 32 ? a / b : (unsigned int)a / (unsigned int)b;
}

// A gate far open or shut, and what it lacks to 1, have digits that a value near 1 has lost. So
// what is kept of a gate is packed: a number that its value, its complement and its slope follow
// from, with no difference of numbers that are nearly the same.
template <typename Real>
struct Gate {
    Real value;       // sigmoid(x)
    Real complement;  // 1 - sigmoid(x)
    Real packed;      // the smaller of the two, with the sign of x
};

template <typename Real>
__device__ inline Gate<Real> unpack_sigmoid(Real packed, Real x) {
    Real is_above = Real(0.5) + with_sign(Real(0.5), x);
    return Gate<Real>{is_above - packed, (Real(1) - is_above) + packed, packed};
}

template <typename Real>
__device__ inline Gate<Real> unpack_sigmoid(Real packed) {
    return unpack_sigmoid(packed, packed);
}

template <typename Real>
__device__ inline Gate<Real> sigmoid(Real x) {
    Real power = exponential(with_sign(x, Real(-1)));
    return unpack_sigmoid(with_sign(power / (Real(1) + power), x), x);
}

// Beyond |x| = 1 tanh(x) loses digits to 1, and what |tanh(x)| lacks to 1 is formed by itself.
template <typename Real>
struct Bounded {
    Real value;   // tanh(x)
    Real slope;   // 1 - tanh(x)^2
    Real packed;  // tanh(x), and beyond |x| = 1 its sign / (1 - |tanh(x)|), which is more than 1
};

template <typename Real>
__device__ inline Bounded<Real> unpack_tanh(Real packed) {
    Real size = with_sign(packed, Real(1));
    if (size > Real(1)) {
        Real lacking = Real(1) / size;
        return Bounded<Real>{with_sign(Real(1) - lacking, packed), lacking * (Real(2) - lacking),
                             packed};
    }
    return Bounded<Real>{packed, Real(1) - packed * packed, packed};
}

template <typename Real>
__device__ inline Bounded<Real> bounded(Real x) {
    Real size = with_sign(x, Real(1));
    if (size > Real(1)) {
        Real inverse = Real(0.5) + Real(0.5) * exponential(size + size);
        return unpack_tanh(with_sign(inverse, x));
    }
    Real value = hyperbolic_tangent(x);
    return Bounded<Real>{value, Real(1) - value * value, value};
}

// RNN: h' = tanh or relu of (W_ih x + b_ih + W_hh h + b_hh)
//
// from_x   (S, H)  in   W_ih x
// from_h   (N, H)  in   W_hh h of the step before
// bias_ih  (H,)    in   read only if has_bias
// bias_hh  (H,)    in   likewise
// h        (S, H)  out  the states after: tanh, or relu if is_relu
template <typename Real>
__device__ void rnn_forward(const Real* from_x, const Real* from_h, const Real* bias_ih,
                            const Real* bias_hh, Real* h, int has_bias, int is_relu, long long row,
                            long long H, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real sum = from_x[row * H + i] + from_h[i];
        if (has_bias) {
            long long j = i - quotient(i, H) * H;
            sum += bias_ih[j] + bias_hh[j];
        }
        // Written so that a NaN stays one.
        h[row * H + i] = is_relu ? (sum < Real(0) ? Real(0) : sum) : hyperbolic_tangent(sum);
    }
}

// h            (S, H)  in   the states after
// grad_output  (S, H)  in   read only if has_grad_output
// grad_h       (N, H)  in   gradient of h from the steps after
// grad_sums    (S, H)  out  the gradient of what tanh or relu got
template <typename Real>
__device__ void rnn_backward(const Real* h, const Real* grad_output, const Real* grad_h,
                             Real* grad_sums, int has_grad_output, int is_relu, long long row,
                             long long H, long long count) {
    FOR_EACH_INDEX(i, count) {
        Real grad = grad_h[i];
        if (has_grad_output) grad += grad_output[row * H + i];
        Real y = h[row * H + i];
        grad_sums[row * H + i] =
            is_relu ? (y <= Real(0) ? Real(0) : grad) : grad * (Real(1) - y * y);
    }
}

// LSTM, gate columns ordered i, f, g, o: c' = f c + i g, h' = o tanh(c')
//
// from_x   (S, 4 H)    in   W_ih x
// from_h   (N, 4 H)    in   W_hh h of the step before
// bias_ih  (4 H,)      in   read only if has_bias
// bias_hh  (4 H,)      in   likewise
// gates    (S, 4 H)    out  the gates i, f, g, o, packed
// c        (S + N, H)  in   the cell states before
// c_after  (S, H)      out  those after: f c + i g
// h        (S, H)      out  o tanh(c')
template <typename Real>
__device__ void lstm_forward(const Real* from_x, const Real* from_h, const Real* bias_ih,
                             const Real* bias_hh, Real* gates, const Real* c, Real* c_after,
                             Real* h, int has_bias, long long row, long long before, long long H,
                             long long count) {
    FOR_EACH_INDEX(unit, count) {
        long long n = quotient(unit, H), j = unit - n * H, offset = (row + n) * 4 * H + j;
        Real* own = gates + offset;
        const Real* recurrent = from_h + n * 4 * H + j;
        Real sum_i = from_x[offset] + recurrent[0];
        Real sum_f = from_x[offset + H] + recurrent[H];
        Real sum_g = from_x[offset + 2 * H] + recurrent[2 * H];
        Real sum_o = from_x[offset + 3 * H] + recurrent[3 * H];
        if (has_bias) {
            sum_i += bias_ih[j] + bias_hh[j];
            sum_f += bias_ih[H + j] + bias_hh[H + j];
            sum_g += bias_ih[2 * H + j] + bias_hh[2 * H + j];
            sum_o += bias_ih[3 * H + j] + bias_hh[3 * H + j];
        }
        Gate<Real> i = sigmoid(sum_i), f = sigmoid(sum_f), o = sigmoid(sum_o);
        Bounded<Real> g = bounded(sum_g);
        Real next = f.value * c[before * H + unit] + i.value * g.value;
        c_after[row * H + unit] = next;
        h[row * H + unit] = o.value * hyperbolic_tangent(next);
        own[0] = i.packed;
        own[H] = f.packed;
        own[2 * H] = g.packed;
        own[3 * H] = o.packed;
    }
}

// gates        (S, 4 H)    in   the gates, packed
// c            (S + N, H)  in   the cell states before
// c_after      (S, H)      in   those after
// grad_output  (S, H)      in   read only if has_grad_output
// grad_cells   (S, H)      in   of c after every step, read only if has_grad_cells
// grad_h       (N, H)      in   gradient of h from the steps after
// grad_c       (N, H)      in   of c from the steps after
// to_c         (N, H)      out  of c before; may be grad_c
// grad_sums    (S, 4 H)    out  gradients of the gates' sums
template <typename Real>
__device__ void lstm_backward(const Real* gates, const Real* c, const Real* c_after,
                              const Real* grad_output, const Real* grad_cells, const Real* grad_h,
                              const Real* grad_c, Real* to_c, Real* grad_sums, int has_grad_output,
                              int has_grad_cells, long long row, long long before, long long H,
                              long long count) {
    FOR_EACH_INDEX(unit, count) {
        long long offset = row * 4 * H + unit + quotient(unit, H) * 3 * H;
        const Real* own = gates + offset;
        Gate<Real> i = unpack_sigmoid(own[0]), f = unpack_sigmoid(own[H]);
        Bounded<Real> g = unpack_tanh(own[2 * H]);
        Gate<Real> o = unpack_sigmoid(own[3 * H]);
        Real grad = grad_h[unit];
        if (has_grad_output) grad += grad_output[row * H + unit];
        Bounded<Real> y = bounded(c_after[row * H + unit]);
        Real grad_cell = grad_c[unit] + grad * o.value * y.slope;
        if (has_grad_cells) grad_cell += grad_cells[row * H + unit];
        Real* sums = grad_sums + offset;
        sums[0] = grad_cell * g.value * (i.value * i.complement);
        sums[H] = grad_cell * c[before * H + unit] * (f.value * f.complement);
        sums[2 * H] = grad_cell * i.value * g.slope;
        sums[3 * H] = grad * y.value * (o.value * o.complement);
        to_c[unit] = grad_cell * f.value;
    }
}

// The memory of an LSTM alone, for cells that make of c' and of o's argument something else:
// c' = f c + i g, with peepholes i and f of w_i c and w_f c more, and o's argument of w_o c'
//
// from_x     (N, 4 H)  in   what comes from x, all biases in it
// from_h     (N, 4 H)  in   what comes from h
// weight_ch  (3 H,)    in   w_i, w_f, w_o, read only if has_peepholes
// c          (N, H)    in   the cell states before
// gates      (N, 3 H)  out  the gates i, f, g, packed
// c_after    (N, H)    out  those after
// sum_o      (N, H)    out  the argument of o
template <typename Real>
__device__ void memory_forward(const Real* from_x, const Real* from_h, const Real* weight_ch,
                               const Real* c, Real* gates, Real* c_after, Real* sum_o,
                               int has_peepholes, long long H, long long count) {
    FOR_EACH_INDEX(unit, count) {
        long long n = quotient(unit, H), j = unit - n * H, offset = n * 4 * H + j;
        const Real* recurrent = from_h + offset;
        Real sum_i = from_x[offset] + recurrent[0];
        Real sum_f = from_x[offset + H] + recurrent[H];
        Real sum_g = from_x[offset + 2 * H] + recurrent[2 * H];
        Real own_o = from_x[offset + 3 * H] + recurrent[3 * H];
        if (has_peepholes) {
            sum_i += weight_ch[j] * c[unit];
            sum_f += weight_ch[H + j] * c[unit];
        }
        Gate<Real> i = sigmoid(sum_i), f = sigmoid(sum_f);
        Bounded<Real> g = bounded(sum_g);
        Real next = f.value * c[unit] + i.value * g.value;
        c_after[unit] = next;
        sum_o[unit] = has_peepholes ? own_o + weight_ch[2 * H + j] * next : own_o;
        Real* own = gates + n * 3 * H + j;
        own[0] = i.packed;
        own[H] = f.packed;
        own[2 * H] = g.packed;
    }
}

// gates, weight_ch, c, c_after  in   as in memory_forward
// grad_c_after, grad_o  (N, H)    in   the gradients of c_after and sum_o
// grad_sums             (N, 4 H)  out  of what came from x and from h
// grad_c                (N, H)    out
// grad_ch               (N, 3 H)  out  each row's part of weight_ch's, written only if
// has_peepholes
template <typename Real>
__device__ void memory_backward(const Real* gates, const Real* weight_ch, const Real* c,
                                const Real* c_after, const Real* grad_c_after, const Real* grad_o,
                                Real* grad_sums, Real* grad_c, Real* grad_ch, int has_peepholes,
                                long long H, long long count) {
    FOR_EACH_INDEX(unit, count) {
        long long n = quotient(unit, H), j = unit - n * H;
        const Real* own = gates + n * 3 * H + j;
        Gate<Real> i = unpack_sigmoid(own[0]), f = unpack_sigmoid(own[H]);
        Bounded<Real> g = unpack_tanh(own[2 * H]);
        Real grad = grad_c_after[unit];
        if (has_peepholes) grad += grad_o[unit] * weight_ch[2 * H + j];
        Real* sums = grad_sums + n * 4 * H + j;
        Real sum_i = grad * g.value * (i.value * i.complement);
        Real sum_f = grad * c[unit] * (f.value * f.complement);
        sums[0] = sum_i;
        sums[H] = sum_f;
        sums[2 * H] = grad * i.value * g.slope;
        sums[3 * H] = grad_o[unit];
        Real before = grad * f.value;
        if (has_peepholes) {
            before += sum_i * weight_ch[j] + sum_f * weight_ch[H + j];
            Real* parts = grad_ch + n * 3 * H + j;
            parts[0] = sum_i * c[unit];
            parts[H] = sum_f * c[unit];
            parts[2 * H] = grad_o[unit] * c_after[unit];
        }
        grad_c[unit] = before;
    }
}

// h = o tanh(x), o of its argument sum_o: arrays of `count` elements
template <typename Real>
__device__ void gated_forward(const Real* sum_o, const Real* x, Real* h, long long count) {
    FOR_EACH_INDEX(i, count) h[i] = sigmoid(sum_o[i]).value * hyperbolic_tangent(x[i]);
}

template <typename Real>
__device__ void gated_backward(const Real* sum_o, const Real* x, const Real* grad, Real* grad_o,
                               Real* grad_x, long long count) {
    FOR_EACH_INDEX(i, count) {
        Gate<Real> o = sigmoid(sum_o[i]);
        Bounded<Real> y = bounded(x[i]);
        grad_o[i] = grad[i] * y.value * (o.value * o.complement);
        grad_x[i] = grad[i] * o.value * y.slope;
    }
}

// GRU, gate columns ordered r, z, n: h' = (1 - z) n + z h
//
// from_x     (S, 3 H)    in   W_ih x, with b_ih where has_bias_ih is 0 and there are biases
// from_h     (N, 3 H)    in   W_hh h of the step before
// bias_ih    (3 H,)      in   read only if has_bias_ih
// bias_hh    (3 H,)      in   read only if has_bias_hh
// gates      (S, 3 H)    out  the gates r, z, n, packed
// candidate  (S, H)      out  W_hn h + b_hn, which r multiplies
// h          (S + N, H)  in   the states before
// h_after    (S, H)      out  those after: (1 - z) n + z h
template <typename Real>
__device__ void gru_forward(const Real* from_x, const Real* from_h, const Real* bias_ih,
                            const Real* bias_hh, Real* gates, Real* candidate, const Real* h,
                            Real* h_after, int has_bias_ih, int has_bias_hh, long long row,
                            long long before, long long H, long long count) {
    FOR_EACH_INDEX(unit, count) {
        long long sample = quotient(unit, H), j = unit - sample * H;
        long long offset = (row + sample) * 3 * H + j;
        Real* own = gates + offset;
        const Real* recurrent = from_h + sample * 3 * H + j;
        Real sum_r = from_x[offset] + recurrent[0];
        Real sum_z = from_x[offset + H] + recurrent[H];
        Real input_n = from_x[offset + 2 * H];
        Real hidden_n = recurrent[2 * H];
        if (has_bias_ih) {
            sum_r += bias_ih[j];
            sum_z += bias_ih[H + j];
            input_n += bias_ih[2 * H + j];
        }
        if (has_bias_hh) {
            sum_r += bias_hh[j];
            sum_z += bias_hh[H + j];
            hidden_n += bias_hh[2 * H + j];
        }
        Gate<Real> r = sigmoid(sum_r), z = sigmoid(sum_z);
        Bounded<Real> n = bounded(input_n + r.value * hidden_n);
        h_after[row * H + unit] = z.complement * n.value + z.value * h[before * H + unit];
        own[0] = r.packed;
        own[H] = z.packed;
        own[2 * H] = n.packed;
        candidate[row * H + unit] = hidden_n;
    }
}

// gates        (S, 3 H)    in          the gates, packed
// candidate    (S, H)      in          as forward left it
// h            (S + N, H)  in          the states before
// grad_output  (S, H)      in          read only if has_grad_output
// grad_h       (N, H)      in          gradient of h from the steps after, but for grad_direct
// grad_direct  (N, H)      in and out  its part that came straight through z; then of h before
// grad_x       (S, 3 H)    out         gradients of the sums on the input's side
// grad_r       (S, 3 H)    out         the same on the recurrent side
template <typename Real>
__device__ void gru_backward(const Real* gates, const Real* candidate, const Real* h,
                             const Real* grad_output, const Real* grad_h, Real* grad_direct,
                             Real* grad_x, Real* grad_r, int has_grad_output, long long row,
                             long long before, long long H, long long count) {
    FOR_EACH_INDEX(unit, count) {
        long long offset = row * 3 * H + unit + quotient(unit, H) * 2 * H;
        const Real* own = gates + offset;
        Gate<Real> r = unpack_sigmoid(own[0]), z = unpack_sigmoid(own[H]);
        Bounded<Real> n = unpack_tanh(own[2 * H]);
        Real grad = grad_h[unit] + grad_direct[unit];
        if (has_grad_output) grad += grad_output[row * H + unit];
        Real sum_n = grad * z.complement * n.slope;
        Real sum_z = grad * (h[before * H + unit] - n.value) * (z.value * z.complement);
        Real sum_r = sum_n * candidate[row * H + unit] * (r.value * r.complement);
        grad_direct[unit] = grad * z.value;
        grad_x[offset] = sum_r;
        grad_x[offset + H] = sum_z;
        grad_x[offset + 2 * H] = sum_n;
        grad_r[offset] = sum_r;
        grad_r[offset + H] = sum_z;
        grad_r[offset + 2 * H] = sum_n * r.value;
    }
}

// Those of sequences are launched alike, with `before`, whether they read it or not.
#define VARIANTS(Real)                                                                             \
    extern "C" __global__ void rnn_forward_##Real(                                                 \
        const Real* from_x, const Real* from_h, const Real* bias_ih, const Real* bias_hh, Real* h, \
        int has_bias, int is_relu, long long row, long long before, long long H,                   \
        long long count) {                                                                         \
        rnn_forward<Real>(from_x, from_h, bias_ih, bias_hh, h, has_bias, is_relu, row, H, count);  \
    }                                                                                              \
    extern "C" __global__ void rnn_backward_##Real(                                                \
        const Real* h, const Real* grad_output, const Real* grad_h, Real* grad_sums,               \
        int has_grad_output, int is_relu, long long row, long long before, long long H,            \
        long long count) {                                                                         \
        rnn_backward<Real>(h, grad_output, grad_h, grad_sums, has_grad_output, is_relu, row, H,    \
                           count);                                                                 \
    }                                                                                              \
    extern "C" __global__ void lstm_forward_##Real(                                                \
        const Real* from_x, const Real* from_h, const Real* bias_ih, const Real* bias_hh,          \
        Real* gates, const Real* c, Real* c_after, Real* h, int has_bias, long long row,           \
        long long before, long long H, long long count) {                                          \
        lstm_forward<Real>(from_x, from_h, bias_ih, bias_hh, gates, c, c_after, h, has_bias, row,  \
                           before, H, count);                                                      \
    }                                                                                              \
    extern "C" __global__ void lstm_backward_##Real(                                               \
        const Real* gates, const Real* c, const Real* c_after, const Real* grad_output,            \
        const Real* grad_cells, const Real* grad_h, const Real* grad_c, Real* to_c,                \
        Real* grad_sums, int has_grad_output, int has_grad_cells, long long row, long long before, \
        long long H, long long count) {                                                            \
        lstm_backward<Real>(gates, c, c_after, grad_output, grad_cells, grad_h, grad_c, to_c,      \
                            grad_sums, has_grad_output, has_grad_cells, row, before, H, count);    \
    }                                                                                              \
    extern "C" __global__ void gru_forward_##Real(                                                 \
        const Real* from_x, const Real* from_h, const Real* bias_ih, const Real* bias_hh,          \
        Real* gates, Real* candidate, const Real* h, Real* h_after, int has_bias_ih,               \
        int has_bias_hh, long long row, long long before, long long H, long long count) {          \
        gru_forward<Real>(from_x, from_h, bias_ih, bias_hh, gates, candidate, h, h_after,          \
                          has_bias_ih, has_bias_hh, row, before, H, count);                        \
    }                                                                                              \
    extern "C" __global__ void gru_backward_##Real(                                                \
        const Real* gates, const Real* candidate, const Real* h, const Real* grad_output,          \
        const Real* grad_h, Real* grad_direct, Real* grad_x, Real* grad_r, int has_grad_output,    \
        long long row, long long before, long long H, long long count) {                           \
        gru_backward<Real>(gates, candidate, h, grad_output, grad_h, grad_direct, grad_x, grad_r,  \
                           has_grad_output, row, before, H, count);                                \
    }                                                                                              \
    extern "C" __global__ void memory_forward_##Real(                                              \
        const Real* from_x, const Real* from_h, const Real* weight_ch, const Real* c, Real* gates, \
        Real* c_after, Real* sum_o, int has_peepholes, long long H, long long count) {             \
        memory_forward<Real>(from_x, from_h, weight_ch, c, gates, c_after, sum_o, has_peepholes,   \
                             H, count);                                                            \
    }                                                                                              \
    extern "C" __global__ void memory_backward_##Real(                                             \
        const Real* gates, const Real* weight_ch, const Real* c, const Real* c_after,              \
        const Real* grad_c_after, const Real* grad_o, Real* grad_sums, Real* grad_c,               \
        Real* grad_ch, int has_peepholes, long long H, long long count) {                          \
        memory_backward<Real>(gates, weight_ch, c, c_after, grad_c_after, grad_o, grad_sums,       \
                              grad_c, grad_ch, has_peepholes, H, count);                           \
    }                                                                                              \
    extern "C" __global__ void gated_forward_##Real(const Real* sum_o, const Real* x, Real* h,     \
                                                    long long count) {                             \
        gated_forward<Real>(sum_o, x, h, count);                                                   \
    }                                                                                              \
    extern "C" __global__ void gated_backward_##Real(const Real* sum_o, const Real* x,             \
                                                     const Real* grad, Real* grad_o, Real* grad_x, \
                                                     long long count) {                            \
        gated_backward<Real>(sum_o, x, grad, grad_o, grad_x, count);                               \
    }

VARIANTS(float)
VARIANTS(double)
