// Kernels of the LSTM layer, compiled once per instruction set (targets.h). T steps, N batch, H hidden size.
//
// i, f, o = sigmoid(...), g = tanh(...), c' = f c + i g, h' = o tanh(c'): Hochreiter and Schmidhuber 1997 with the forget gate of
// Gers et al. 2000. tanh(c') is computed again in the backward pass: that costs less than storing and reading it.

template <typename T>
struct LstmForwardFinish {
  const LstmForward<T>& call;
  const T* c_prev;  // (N, H)
  T* gates;         // (N, 4 H), of this step, as the three below
  T* output;
  T* cells;

  struct Block {
    const LstmForwardFinish& finish;
    std::int64_t row;
    int rows;

    template <bool full>
    IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
      const LstmForward<T>& call = finish.call;
      const std::int64_t H = call.hidden;
      constexpr int lanes = Simd<T>::lanes;
      const Vector<T> bias_i = load<T, full>(call.bias + unit, count);
      const Vector<T> bias_f = load<T, full>(call.bias + H + unit, count);
      const Vector<T> bias_g = load<T, full>(call.bias + 2 * H + unit, count);
      const Vector<T> bias_o = load<T, full>(call.bias + 3 * H + unit, count);
      for (int m = 0; m < rows; ++m) {
        const std::int64_t at = (row + m) * H + unit;
        T* gate = finish.gates + (row + m) * 4 * H + unit;
        const T* sum = sums + m * 4 * lanes;
        const Vector<T> i = sigmoid<T>(load<T, true>(sum, count) + load<T, full>(gate, count) + bias_i);
        const Vector<T> f = sigmoid<T>(load<T, true>(sum + lanes, count) + load<T, full>(gate + H, count) + bias_f);
        const Vector<T> g =
            hyperbolic_tangent<T>(load<T, true>(sum + 2 * lanes, count) + load<T, full>(gate + 2 * H, count) + bias_g);
        const Vector<T> o =
            sigmoid<T>(load<T, true>(sum + 3 * lanes, count) + load<T, full>(gate + 3 * H, count) + bias_o);
        const Vector<T> c = f * load<T, full>(finish.c_prev + at, count) + i * g;
        store<T, full>(gate, i, count);
        store<T, full>(gate + H, f, count);
        store<T, full>(gate + 2 * H, g, count);
        store<T, full>(gate + 3 * H, o, count);
        store<T, full>(finish.cells + at, c, count);
        store<T, full>(finish.output + at, o * hyperbolic_tangent<T>(c), count);
      }
    }
  };

  void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
    for_units<T, 1>(panel, call.hidden, sums, Block{*this, row, rows});
  }
};

template <typename T>
static void lstm_forward_rows(const LstmForward<T>& call, std::int64_t first, std::int64_t last) {
  const std::int64_t H = call.hidden;
  product<T, 2>(call.x, call.input, call.input_panels, call.input, panels_of<T>(4 * H, 2),
                Rows{first, last, call.steps, call.batch}, Store<T>{call.gates, 4 * H, 4 * H, false});
  const T* h = call.h_prev;
  const T* c = call.c_prev;
  for (std::int64_t t = 0; t < call.steps; ++t) {
    T* output = call.output + t * call.batch * H;
    T* cells = call.cells + t * call.cells_stride;
    const LstmForwardFinish<T> finish{call, c, call.gates + t * call.batch * 4 * H, output, cells};
    product<T, 4>(h, H, call.panels, H, panels_of<T>(H, 1), Rows{first, last, 1, call.batch}, finish);
    h = output;
    c = cells;
  }
}

template <typename T>
struct LstmBackwardCell {
  const LstmBackward<T>& call;
  std::int64_t step;

  template <bool full>
  IMPL_INLINE_MEMBER void apply(std::int64_t row, std::int64_t unit, int count, Vector<T> grad_h) const {
    const std::int64_t H = call.hidden;
    const std::int64_t in_step = row * H + unit;
    const std::int64_t at = step * call.batch * H + in_step;
    const std::int64_t in_gates = (step * call.batch + row) * 4 * H + unit;
    if (call.grad_output != nullptr) grad_h += load<T, full>(call.grad_output + at, count);
    const T* c_prev = step == 0 ? call.c_prev + in_step : call.cells + at - call.batch * H;
    const T* gate = call.gates + in_gates;
    const Vector<T> i = load<T, full>(gate, count);
    const Vector<T> f = load<T, full>(gate + H, count);
    const Vector<T> g = load<T, full>(gate + 2 * H, count);
    const Vector<T> o = load<T, full>(gate + 3 * H, count);
    const Vector<T> tanh_c = hyperbolic_tangent<T>(load<T, full>(call.cells + at, count));
    const Vector<T> grad_c =
        load<T, full>(call.grad_c + in_step, count) + grad_h * o * (T(1) - tanh_c * tanh_c);
    T* grad = call.grad_gates + in_gates;
    store<T, full>(grad, grad_c * g * i * (T(1) - i), count);
    store<T, full>(grad + H, grad_c * load<T, full>(c_prev, count) * f * (T(1) - f), count);
    store<T, full>(grad + 2 * H, grad_c * i * (T(1) - g * g), count);
    store<T, full>(grad + 3 * H, grad_h * tanh_c * o * (T(1) - o), count);
    store<T, full>(call.grad_c + in_step, grad_c * f, count);
  }
};

template <typename T>
static void lstm_backward_rows(const LstmBackward<T>& call, std::int64_t first, std::int64_t last) {
  backward_steps<T, LstmBackwardCell<T>>(call, 4 * call.hidden, 4 * call.hidden, 0, first, last);
}
