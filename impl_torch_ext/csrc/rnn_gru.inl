// The gated recurrent unit (Cho et al. 2014) with the reset gate after the recurrent product
// (torch.nn.GRU). Gates are r, z, n, columns n, r, z, hn (rnn.h):
//
//   r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh)
//   hn = W_hn h + b_hn
//   n = tanh(W_in x + b_in + r hn)
//   h' = (1 - z) n + z h

// z and 1 - z of a gate that was kept as z, or as -(1 - z) where z is above a half.
template <typename T>
IMPL_INLINE Vector<T> open_of(Vector<T> kept) {
    return kept < T(0) ? T(1) + kept : kept;
}

template <typename T>
IMPL_INLINE Vector<T> shut_of(Vector<T> kept) {
    return kept < T(0) ? -kept : T(1) - kept;
}

template <>
struct Equations<GruCell> {
    template <typename T, bool full>
    IMPL_INLINE_MEMBER static void forward(const ForwardUnits<T, full>& at) {
        const Vector<T> r = sigmoid<T>(at.state(0) + at.input(1) + at.bias(1));
        // The smaller of z and 1 - z, which has all its digits; the sign says which.
        const Vector<T> sum_z = at.state(1) + at.input(2) + at.bias(2);
        const Vector<T> least = sigmoid<T>(sum_z > T(0) ? -sum_z : sum_z);
        const Vector<T> kept = sum_z > T(0) ? -least : least;
        const Vector<T> z = open_of<T>(kept), shut = shut_of<T>(kept);
        const Vector<T> hn = at.state(2) + at.bias(3);
        const Vector<T> n = hyperbolic_tangent<T>(at.input(0) + at.bias(0) + r * hn);
        const Vector<T> h = at.h_prev();
        at.set_h(shut * n + z * h);
        at.keep(0, n);
        at.keep(1, r);
        at.keep(2, kept);
        at.keep(3, hn);
    }

    template <typename T, bool full, typename Units>
    IMPL_INLINE_MEMBER static void backward(const Units& at, Vector<T> grad_h) {
        const Vector<T> n = at.gate(0), r = at.gate(1), hn = at.gate(3);
        const Vector<T> z = open_of<T>(at.gate(2)), shut = shut_of<T>(at.gate(2));
        const Vector<T> grad_n = grad_h * shut * (T(1) - n * n);
        at.set_grad_gate(0, grad_n);
        at.set_grad_gate(1, grad_n * hn * r * (T(1) - r));
        at.set_grad_gate(2, grad_h * (at.h_prev() - n) * z * shut);
        at.set_grad_gate(3, grad_n * r);
        // The rest of the gradient of h comes through the gates.
        at.carry(grad_h * z);
    }
};
