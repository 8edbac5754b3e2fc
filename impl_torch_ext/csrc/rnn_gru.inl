// The gated recurrent unit (Cho et al. 2014) with the reset gate after the recurrent product
// (torch.nn.GRU). Gates are r, z, n, columns n, r, z, hn (rnn.h):
//
//   r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh)
//   hn = W_hn h + b_hn
//   n = tanh(W_in x + b_in + r hn)
//   h' = (1 - z) n + z h

template <>
struct Equations<GruCell> {
    template <typename T, bool full>
    IMPL_INLINE_MEMBER static void forward(const ForwardUnits<T, full>& at) {
        const Vector<T> r = sigmoid<T>(at.state(0) + at.input(1) + at.bias(1));
        const Vector<T> z = sigmoid<T>(at.state(1) + at.input(2) + at.bias(2));
        const Vector<T> hn = at.state(2) + at.bias(3);
        const Vector<T> n = hyperbolic_tangent<T>(at.input(0) + at.bias(0) + r * hn);
        const Vector<T> h = at.h_prev();
        at.keep(0, n);
        at.keep(1, r);
        at.keep(2, z);
        at.keep(3, hn);
        at.set_h((T(1) - z) * n + z * h);
    }

    template <typename T, bool full>
    IMPL_INLINE_MEMBER static void backward(const BackwardUnits<T, full>& at, Vector<T> grad_h) {
        const Vector<T> n = at.gate(0), r = at.gate(1), z = at.gate(2), hn = at.gate(3);
        const Vector<T> grad_n = grad_h * (T(1) - z) * (T(1) - n * n);
        at.set_grad_gate(0, grad_n);
        at.set_grad_gate(1, grad_n * hn * r * (T(1) - r));
        at.set_grad_gate(2, grad_h * (at.h_prev() - n) * z * (T(1) - z));
        at.set_grad_gate(3, grad_n * r);
        // The rest of the gradient of h comes through the gates.
        at.carry(grad_h * z);
    }
};
