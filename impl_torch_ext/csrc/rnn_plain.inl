// The plain recurrent cell (Elman, Finding structure in time, 1990; torch.nn.RNN):
//
//   h' = f(W_ih x + b_ih + W_hh h + b_hh), f = tanh or relu
//
// The derivative of f follows from h' alone, so nothing else is kept: 1 - h'^2 for tanh, [h' > 0]
// for relu. Column 0 is h' itself.
//
// One cell with a flag: in a cell for tanh alone the compiler takes the constants of tanh out of
// the loop over samples and onto the stack, and a step of one sample is a tenth slower.

template <>
struct Equations<PlainCell> {
    template <typename T, bool full>
    IMPL_INLINE_MEMBER static void forward(const ForwardUnits<T, full>& at) {
        const Vector<T> zero = {};
        const Vector<T> sum = at.state(0) + at.input(0) + at.bias(0);
        // Written so that a NaN passes through the comparison, here and below.
        at.set_h(at.call.relu ? (sum <= zero ? zero : sum) : hyperbolic_tangent<T>(sum));
    }

    template <typename T, bool full, typename Units>
    IMPL_INLINE_MEMBER static void backward(const Units& at, Vector<T> grad_h) {
        const Vector<T> zero = {};
        const Vector<T> h = at.h();
        at.set_grad_gate(0, at.call.relu ? (h <= zero ? zero : grad_h) : grad_h * (T(1) - h * h));
    }
};
