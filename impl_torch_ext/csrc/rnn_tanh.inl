// Kernels of the plain recurrent layer, compiled once per instruction set (targets.h). T steps, N batch, H hidden size.
// Its local derivative follows from the output alone, so nothing else is kept: 1 - h^2 for tanh, [h > 0] for relu.

template <typename T>
struct RnnForwardFinish {
  const RnnForward<T>& call;
  T* output;  // (N, H), of this step

  struct Block {
    const RnnForwardFinish& finish;
    std::int64_t row;
    int rows;

    template <bool full>
    IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
      const RnnForward<T>& call = finish.call;
      const Vector<T> bias = load<T, full>(call.bias + unit, count);
      const Vector<T> zero = {};
      for (int m = 0; m < rows; ++m) {
        T* h = finish.output + (row + m) * call.hidden + unit;
        const Vector<T> sum = load<T, true>(sums + m * 2 * Simd<T>::lanes, count) + load<T, full>(h, count) + bias;
        store<T, full>(h, call.relu ? (sum <= zero ? zero : sum) : hyperbolic_tangent<T>(sum), count);
      }
    }
  };

  void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
    for_units<T, 2>(panel, call.hidden, sums, Block{*this, row, rows});
  }
};

template <typename T>
static void rnn_forward_rows(const RnnForward<T>& call, std::int64_t first, std::int64_t last) {
  const std::int64_t H = call.hidden, panels = panels_of<T>(H, 2);
  product<T, 2>(call.x, call.input, call.input_panels, call.input, panels, Rows{first, last, call.steps, call.batch},
                Store<T>{call.output, H, H, false});
  const T* h = call.h_prev;
  for (std::int64_t t = 0; t < call.steps; ++t) {
    T* output = call.output + t * call.batch * H;
    product<T, 2>(h, H, call.panels, H, panels, Rows{first, last, 1, call.batch}, RnnForwardFinish<T>{call, output});
    h = output;
  }
}

// One step backward for rows whose gradient with respect to h is known: grad_gates = grad_h * f'(h).
template <typename T>
struct RnnBackwardCell {
  const RnnBackward<T>& call;
  std::int64_t step;

  template <bool full>
  IMPL_INLINE_MEMBER void apply(std::int64_t row, std::int64_t unit, int count, Vector<T> grad_h) const {
    const std::int64_t at = (step * call.batch + row) * call.hidden + unit;
    if (call.grad_output != nullptr) grad_h += load<T, full>(call.grad_output + at, count);
    const Vector<T> h = load<T, full>(call.output + at, count);
    const Vector<T> zero = {};
    const Vector<T> grad = call.relu ? (h <= zero ? zero : grad_h) : grad_h * (T(1) - h * h);
    store<T, full>(call.grad_gates + at, grad, count);
  }
};

template <typename T>
static void rnn_backward_rows(const RnnBackward<T>& call, std::int64_t first, std::int64_t last) {
  backward_steps<T, RnnBackwardCell<T>>(call, call.hidden, call.hidden, 0, first, last);
}
