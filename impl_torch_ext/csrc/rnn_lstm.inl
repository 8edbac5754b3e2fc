// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al.
// 2000; torch.nn.LSTM). Gates and columns are i, f, g, o:
//
//   i, f, o = sigmoid(W_ih x + b_ih + W_hh h + b_hh), g = tanh(likewise)
//   c' = f c + i g
//   h' = o tanh(c')
//
// With a projection h' = W_hr (o tanh(c')) (Sak, Senior and Beaufays 2014), whose product is the
// driver's.

template <>
struct Equations<LstmCell> {
    template <typename T, bool full>
    IMPL_INLINE_MEMBER static void forward(const ForwardUnits<T, full>& at) {
        const Vector<T> i = sigmoid<T>(at.state(0) + at.input(0) + at.bias(0));
        const Vector<T> f = sigmoid<T>(at.state(1) + at.input(1) + at.bias(1));
        const Vector<T> g = hyperbolic_tangent<T>(at.state(2) + at.input(2) + at.bias(2));
        const Vector<T> o = sigmoid<T>(at.state(3) + at.input(3) + at.bias(3));
        const Vector<T> c = f * at.c_prev() + i * g;
        at.set_c(c);
        at.set_h(o * hyperbolic_tangent<T>(c));
        at.keep(0, i);
        at.keep(1, f);
        at.keep(2, g);
        at.keep(3, o);
    }

    template <typename T, bool full, typename Units>
    IMPL_INLINE_MEMBER static void backward(const Units& at, Vector<T> grad_h) {
        const Vector<T> i = at.gate(0), f = at.gate(1), g = at.gate(2), o = at.gate(3);
        // Computed again: that costs less than storing and reading it.
        const Vector<T> tanh_c = hyperbolic_tangent<T>(at.c());
        const Vector<T> grad_c = at.grad_c() + grad_h * o * (T(1) - tanh_c * tanh_c);
        at.set_grad_gate(0, grad_c * g * i * (T(1) - i));
        at.set_grad_gate(1, grad_c * at.c_prev() * f * (T(1) - f));
        at.set_grad_gate(2, grad_c * i * (T(1) - g * g));
        at.set_grad_gate(3, grad_h * tanh_c * o * (T(1) - o));
        at.set_grad_c_prev(grad_c * f);
        at.set_inner(o * tanh_c);
    }
};

template <>
struct Equations<ProjectedLstmCell> : Equations<LstmCell> {};
