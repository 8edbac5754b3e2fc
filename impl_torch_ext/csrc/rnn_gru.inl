// Kernels of the GRU layer, compiled once per instruction set (targets.h). T steps, N batch, H hidden size.
//
// r, z = sigmoid(...), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h: Cho et al. 2014 with the reset gate after
// the recurrent product. The order of the gates is that of rnn.h: n, r, z, hn.

template <typename T>
struct GruForwardFinish {
  const GruForward<T>& call;
  const T* h_prev;  // (N, H)
  T* gates;         // (N, 4 H), of this step
  T* output;        // (N, H)

  struct Block {
    const GruForwardFinish& finish;
    std::int64_t row;
    int rows;

    template <bool full>
    IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
      const GruForward<T>& call = finish.call;
      const std::int64_t H = call.hidden;
      constexpr int lanes = Simd<T>::lanes;
      const Vector<T> bias_n = load<T, full>(call.bias + unit, count);
      const Vector<T> bias_r = load<T, full>(call.bias + H + unit, count);
      const Vector<T> bias_z = load<T, full>(call.bias + 2 * H + unit, count);
      const Vector<T> bias_hn = load<T, full>(call.bias + 3 * H + unit, count);
      for (int m = 0; m < rows; ++m) {
        const std::int64_t at = (row + m) * H + unit;
        T* gate = finish.gates + (row + m) * 4 * H + unit;
        const T* sum = sums + m * 3 * lanes;
        const Vector<T> r = sigmoid<T>(load<T, true>(sum, count) + load<T, full>(gate + H, count) + bias_r);
        const Vector<T> z = sigmoid<T>(load<T, true>(sum + lanes, count) + load<T, full>(gate + 2 * H, count) + bias_z);
        const Vector<T> hn = load<T, true>(sum + 2 * lanes, count) + bias_hn;
        const Vector<T> n = hyperbolic_tangent<T>(load<T, full>(gate, count) + bias_n + r * hn);
        const Vector<T> h = load<T, full>(finish.h_prev + at, count);
        store<T, full>(gate, n, count);
        store<T, full>(gate + H, r, count);
        store<T, full>(gate + 2 * H, z, count);
        store<T, full>(gate + 3 * H, hn, count);
        store<T, full>(finish.output + at, (T(1) - z) * n + z * h, count);
      }
    }
  };

  void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
    for_units<T, 1>(panel, call.hidden, sums, Block{*this, row, rows});
  }
};

template <typename T>
static void gru_forward_rows(const GruForward<T>& call, std::int64_t first, std::int64_t last) {
  const std::int64_t H = call.hidden;
  product<T, 2>(call.x, call.input, call.input_panels, call.input, panels_of<T>(3 * H, 2),
                Rows{first, last, call.steps, call.batch}, Store<T>{call.gates, 3 * H, 4 * H, false});
  const T* h = call.h_prev;
  for (std::int64_t t = 0; t < call.steps; ++t) {
    T* output = call.output + t * call.batch * H;
    const GruForwardFinish<T> finish{call, h, call.gates + t * call.batch * 4 * H, output};
    product<T, 3>(h, H, call.panels, H, panels_of<T>(H, 1), Rows{first, last, 1, call.batch}, finish);
    h = output;
  }
}

template <typename T>
struct GruBackwardCell {
  const GruBackward<T>& call;
  std::int64_t step;

  template <bool full>
  IMPL_INLINE_MEMBER void apply(std::int64_t row, std::int64_t unit, int count, Vector<T> grad_h) const {
    const std::int64_t H = call.hidden;
    const std::int64_t in_step = row * H + unit;
    const std::int64_t at = step * call.batch * H + in_step;
    const std::int64_t in_gates = (step * call.batch + row) * 4 * H + unit;
    if (call.grad_output != nullptr) grad_h += load<T, full>(call.grad_output + at, count);
    const T* h_prev = step == 0 ? call.h_prev + in_step : call.output + at - call.batch * H;
    const T* gate = call.gates + in_gates;
    const Vector<T> n = load<T, full>(gate, count);
    const Vector<T> r = load<T, full>(gate + H, count);
    const Vector<T> z = load<T, full>(gate + 2 * H, count);
    const Vector<T> hn = load<T, full>(gate + 3 * H, count);
    const Vector<T> grad_n = grad_h * (T(1) - z) * (T(1) - n * n);
    T* grad = call.grad_gates + in_gates;
    store<T, full>(grad, grad_n, count);
    store<T, full>(grad + H, grad_n * hn * r * (T(1) - r), count);
    store<T, full>(grad + 2 * H, grad_h * (load<T, full>(h_prev, count) - n) * z * (T(1) - z), count);
    store<T, full>(grad + 3 * H, grad_n * r, count);
    // What z passes straight on; backward_steps adds the rest, which comes through the gates.
    store<T, full>(call.grad_h + in_step, grad_h * z, count);
  }
};

template <typename T>
static void gru_backward_rows(const GruBackward<T>& call, std::int64_t first, std::int64_t last) {
  backward_steps<T, GruBackwardCell<T>, true>(call, 3 * call.hidden, 4 * call.hidden, call.hidden, first, last);
}
