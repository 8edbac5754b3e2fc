// Each layer over a whole sequence: chunks of steps, in each one product for the input, the kernels of rnn.h for the
// recurrence, and on the way back one product per weight.
#include "sequence.h"

#include <ATen/Dispatch.h>

namespace impl_torch_ext {

namespace {

Tensor last_state(const Tensor& output, const Tensor& initial) {
  return output.size(0) == 0 ? initial.clone() : output.select(0, output.size(0) - 1).clone();
}

template <typename T>
const T* step_of(const Tensor& z, std::int64_t step) {
  return z.defined() ? z.const_data_ptr<T>() + step * z.size(1) * z.size(2) : nullptr;
}

// sum (+)= left^T right, the sum a contiguous matrix.
template <typename T>
void add_outer(T* sum, std::int64_t rows, std::int64_t columns, const T* left, std::int64_t left_stride, const T* right,
               std::int64_t depth, bool add) {
  const Outer<T> call{depth, columns, left, left_stride, right, columns, sum, add};
  share(rows, depth * columns, [&](std::int64_t first, std::int64_t last) { outer(call, first, last); });
}

Tensor contiguous_like(const char* name, const char* argument, const OptionalTensor& given, at::IntArrayRef shape,
                       const Tensor& like) {
  if (!given.has_value()) return Tensor();
  check_like(name, argument, *given, shape, like);
  return given->contiguous();
}

template <typename T>
void copy_or_zero(const Tensor& from, T* to, std::int64_t count) {
  if (from.defined()) {
    std::copy_n(from.const_data_ptr<T>(), count, to);
  } else {
    std::fill_n(to, count, T(0));
  }
}

template <typename T>
void add_to(const Tensor& from, T* to, std::int64_t count) {
  if (!from.defined()) return;
  const T* values = from.const_data_ptr<T>();
  for (std::int64_t i = 0; i < count; ++i) to[i] += values[i];
}

// b_ih + b_hh, each of which may be missing.
template <typename T>
const T* summed_biases(const char* name, const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, std::int64_t count,
                       const Tensor& like) {
  T* sum = workspace<T>(Slot::bias, count);
  copy_or_zero(contiguous_like(name, "bias_ih", bias_ih, {count}, like), sum, count);
  add_to(contiguous_like(name, "bias_hh", bias_hh, {count}, like), sum, count);
  return sum;
}

// b_in, b_ir + b_hr, b_iz + b_hz, b_hn from biases in the order r, z, n.
template <typename T>
const T* gru_biases(const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, std::int64_t H, const Tensor& like) {
  T* bias = workspace<T>(Slot::bias, 4 * H);
  std::fill_n(bias, 4 * H, T(0));
  const Tensor input = contiguous_like("gru_forward", "bias_ih", bias_ih, {3 * H}, like);
  if (input.defined()) {
    std::copy_n(input.const_data_ptr<T>(), 2 * H, bias + H);
    std::copy_n(input.const_data_ptr<T>() + 2 * H, H, bias);
  }
  add_to(contiguous_like("gru_forward", "bias_hh", bias_hh, {3 * H}, like), bias + H, 3 * H);
  return bias;
}

enum class Product { forward, backward };

// Panels of weight_hh and weight_ih, and how a call refers to them.
template <typename T>
struct Panels {
  const T* input = nullptr;
  const T* recurrent = nullptr;

  Panels(Product product, const Tensor& weight_ih, const Tensor& weight_hh, const Sizes& sizes, std::int64_t rotate = 0,
         bool want_input = true) {
    const Tensor ih = weight_ih.contiguous(), hh = weight_hh.contiguous();
    const std::int64_t rows = sizes.G * sizes.H;
    if (product == Product::forward) {
      recurrent = recurrent_panels(hh.const_data_ptr<T>(), sizes.G, sizes.H, Slot::panels);
      input = transposed_panels(ih.const_data_ptr<T>(), rows, sizes.I, rotate, Slot::input_panels);
    } else {
      recurrent = plain_panels(hh.const_data_ptr<T>(), rows, sizes.H, 0, Slot::panels);
      if (want_input) input = plain_panels(ih.const_data_ptr<T>(), rows, sizes.I, rotate, Slot::input_panels);
    }
  }
};

}  // namespace

void check_like(const char* name, const char* argument, const Tensor& given, at::IntArrayRef shape, const Tensor& x) {
  TORCH_CHECK_VALUE(given.sizes() == shape, name, ": ", argument, " must have shape ", shape, ", got ", given.sizes());
  TORCH_CHECK_TYPE(given.scalar_type() == x.scalar_type(), name, ": ", argument, " must have dtype ", x.scalar_type(), ", got ",
                   given.scalar_type());
}

Sizes check_sequence(const char* name, std::int64_t gates, const Tensor& x, const Tensor& h0, const Tensor& weight_ih,
                     const Tensor& weight_hh) {
  TORCH_CHECK_VALUE(x.dim() == 3, name, ": x must have shape (T, N, I), got ", x.sizes());
  TORCH_CHECK_VALUE(weight_hh.dim() == 2, name, ": weight_hh must have shape (G H, H), got ", weight_hh.sizes());
  const Sizes sizes{x.size(0), x.size(1), x.size(2), weight_hh.size(1), gates};
  check_like(name, "h0", h0, {sizes.N, sizes.H}, x);
  check_like(name, "weight_ih", weight_ih, {gates * sizes.H, sizes.I}, x);
  check_like(name, "weight_hh", weight_hh, {gates * sizes.H, sizes.H}, x);
  return sizes;
}

Gradients::Gradients(const Sizes& sizes, const Tensor& like, const Wanted& wanted, std::int64_t bias_size)
    : sizes_(sizes), wanted_(wanted) {
  const auto [T, N, I, H, G] = sizes;
  const auto options = like.options();
  // Without a step or a sample nothing is ever added to the sums over steps.
  const auto sum = [&](bool asked, at::IntArrayRef shape) {
    if (!asked) return at::empty({0}, options);
    return T * N == 0 ? at::zeros(shape, options) : at::empty(shape, options);
  };
  x = wanted.x ? at::empty({T, N, I}, options) : at::empty({0}, options);
  h0 = wanted.h0 ? at::empty({N, H}, options) : at::empty({0}, options);
  c0 = wanted.c0 ? at::empty({N, H}, options) : at::empty({0}, options);
  weight_ih = sum(wanted.weight_ih, {G * H, I});
  weight_hh = sum(wanted.weight_hh, {G * H, H});
  bias = sum(wanted.bias, {bias_size});
}

template <typename T>
void Gradients::add(std::int64_t start, std::int64_t steps, const T* grad, std::int64_t stride, std::int64_t offset,
                    std::int64_t rotate, const Tensor& x_values, const Tensor& h0_values, const Tensor& output_values) {
  const auto [T_, N, I, H, G] = sizes_;
  const std::int64_t depth = steps * N, rows = G * H;
  if (wanted_.weight_ih) {
    T* sum = weight_ih.data_ptr<T>();
    const T* right = step_of<T>(x_values, start);
    add_outer(sum + rotate * I, rows - rotate, I, grad, stride, right, depth, !first_);
    if (rotate > 0) add_outer(sum, rotate, I, grad + (rows - rotate), stride, right, depth, !first_);
  }
  if (wanted_.weight_hh) {
    T* sum = weight_hh.data_ptr<T>();
    const T* left = grad + offset;
    if (start > 0) {
      add_outer(sum, rows, H, left, stride, step_of<T>(output_values, start - 1), depth, !first_);
    } else {
      add_outer(sum, rows, H, left, stride, h0_values.const_data_ptr<T>(), N, !first_);
      if (steps > 1) {
        add_outer(sum, rows, H, left + N * stride, stride, step_of<T>(output_values, 0), depth - N, true);
      }
    }
  }
  if (wanted_.bias) {
    // torch sums in blocks; a running sum over all steps would lose digits.
    const Tensor all = at::from_blob(const_cast<T*>(grad), {depth, stride}, x_values.options());
    if (first_) {
      at::sum_out(bias, all, 0);
    } else {
      bias.add_(all.sum(0));
    }
  }
  first_ = false;
}

std::tuple<Tensor, Tensor> rnn_sequence(const Tensor& x_given, const Tensor& h0_given, const Tensor& weight_ih,
                                        const Tensor& weight_hh, const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                                        bool relu) {
  const Sizes sizes = check_sequence("rnn_forward", 1, x_given, h0_given, weight_ih, weight_hh);
  const auto [steps, N, I, H, G] = sizes;
  const Tensor x = x_given.contiguous(), h0 = h0_given.contiguous();
  Tensor output = at::empty({steps, N, H}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rnn_forward", [&] {
    if (output.numel() == 0) return;
    const Panels<scalar_t> panels(Product::forward, weight_ih, weight_hh, sizes);
    const scalar_t* bias = summed_biases<scalar_t>("rnn_forward", bias_ih, bias_hh, H, x);
    const std::int64_t chunk = chunk_steps(sizes);
    const scalar_t* h = h0.const_data_ptr<scalar_t>();
    for (std::int64_t start = 0; start < steps; start += chunk) {
      const std::int64_t count = std::min(chunk, steps - start);
      scalar_t* out = output.data_ptr<scalar_t>() + start * N * H;
      const RnnForward<scalar_t> call{count, N, I, H, relu, step_of<scalar_t>(x, start), panels.input, panels.recurrent,
                                      bias, h, out};
      for_rows(call, 1, rnn_forward);
      h = out + (count - 1) * N * H;
    }
  });
  return {output, last_state(output, h0)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_sequence_backward(
    const OptionalTensor& grad_output_given, const OptionalTensor& grad_h_n, const Tensor& x_given, const Tensor& h0_given,
    const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output_given, bool relu, std::array<bool, 5> wanted) {
  const Sizes sizes = check_sequence("rnn_backward", 1, x_given, h0_given, weight_ih, weight_hh);
  const auto [steps, N, I, H, G] = sizes;
  check_like("rnn_backward", "output", output_given, {steps, N, H}, x_given);
  const Tensor x = x_given.contiguous(), h0 = h0_given.contiguous(), output = output_given.contiguous();
  const Tensor grad_output = contiguous_like("rnn_backward", "grad_output", grad_output_given, output.sizes(), output);
  Gradients grads(sizes, x, {wanted[0], wanted[1], false, wanted[2], wanted[3], wanted[4]}, H);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rnn_backward", [&] {
    scalar_t* grad_h = workspace<scalar_t>(Slot::grad_h, N * H);
    copy_or_zero(contiguous_like("rnn_backward", "grad_h_n", grad_h_n, h0.sizes(), h0), grad_h, N * H);
    if (output.numel() > 0) {
      const Panels<scalar_t> panels(Product::backward, weight_ih, weight_hh, sizes, 0, wanted[0]);
      const std::int64_t chunk = chunk_steps(sizes);
      scalar_t* grad_gates = workspace<scalar_t>(Slot::gates, chunk * N * H);
      for (std::int64_t stop = steps; stop > 0; stop -= std::min(chunk, stop)) {
        const std::int64_t start = std::max<std::int64_t>(0, stop - chunk), count = stop - start;
        scalar_t* grad_x = wanted[0] ? grads.x.data_ptr<scalar_t>() + start * N * I : nullptr;
        const RnnBackward<scalar_t> call{count, N, I, H, relu, panels.input, panels.recurrent, step_of<scalar_t>(output, start),
                                         step_of<scalar_t>(grad_output, start), grad_h, grad_gates, grad_x};
        for_rows(call, 1, rnn_backward);
        grads.add(start, count, grad_gates, H, 0, 0, x, h0, output);
      }
    }
    if (wanted[1]) std::copy_n(grad_h, N * H, grads.h0.data_ptr<scalar_t>());
  });
  return {grads.x, grads.h0, grads.weight_ih, grads.weight_hh, grads.bias};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> lstm_sequence(const Tensor& x_given, const Tensor& h0_given,
                                                                 const Tensor& c0_given, const Tensor& weight_ih,
                                                                 const Tensor& weight_hh, const OptionalTensor& bias_ih,
                                                                 const OptionalTensor& bias_hh, bool keep) {
  const Sizes sizes = check_sequence("lstm_forward", 4, x_given, h0_given, weight_ih, weight_hh);
  const auto [steps, N, I, H, G] = sizes;
  check_like("lstm_forward", "c0", c0_given, {N, H}, x_given);
  const Tensor x = x_given.contiguous(), h0 = h0_given.contiguous(), c0 = c0_given.contiguous();
  Tensor output = at::empty({steps, N, H}, x.options());
  Tensor gates = keep ? at::empty({steps, N, 4 * H}, x.options()) : at::empty({0}, x.options());
  Tensor cells = keep ? at::empty({steps, N, H}, x.options()) : at::empty({0}, x.options());
  Tensor c_n = c0.clone();
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "lstm_forward", [&] {
    if (output.numel() == 0) return;
    const Panels<scalar_t> panels(Product::forward, weight_ih, weight_hh, sizes);
    const scalar_t* bias = summed_biases<scalar_t>("lstm_forward", bias_ih, bias_hh, 4 * H, x);
    const std::int64_t chunk = chunk_steps(sizes);
    const scalar_t* h = h0.const_data_ptr<scalar_t>();
    const scalar_t* c = keep ? c0.const_data_ptr<scalar_t>() : c_n.const_data_ptr<scalar_t>();
    for (std::int64_t start = 0; start < steps; start += chunk) {
      const std::int64_t count = std::min(chunk, steps - start);
      scalar_t* gate = keep ? gates.data_ptr<scalar_t>() + start * N * 4 * H : workspace<scalar_t>(Slot::gates, count * N * 4 * H);
      scalar_t* out = output.data_ptr<scalar_t>() + start * N * H;
      scalar_t* cell = keep ? cells.data_ptr<scalar_t>() + start * N * H : c_n.data_ptr<scalar_t>();
      const LstmForward<scalar_t> call{count, N, I, H, step_of<scalar_t>(x, start), panels.input, panels.recurrent, bias,
                                       h, c, gate, out, cell, keep ? N * H : 0};
      for_rows(call, 4, lstm_forward);
      h = out + (count - 1) * N * H;
      c = cell + (keep ? (count - 1) * N * H : 0);
    }
    if (keep) std::copy_n(c, N * H, c_n.data_ptr<scalar_t>());
  });
  return {output, last_state(output, h0), c_n, gates, cells};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm_sequence_backward(
    const OptionalTensor& grad_output_given, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n, const Tensor& x_given,
    const Tensor& h0_given, const Tensor& c0_given, const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output_given,
    const Tensor& gates_given, const Tensor& cells_given, std::array<bool, 6> wanted) {
  const Sizes sizes = check_sequence("lstm_backward", 4, x_given, h0_given, weight_ih, weight_hh);
  const auto [steps, N, I, H, G] = sizes;
  check_like("lstm_backward", "c0", c0_given, {N, H}, x_given);
  check_like("lstm_backward", "output", output_given, {steps, N, H}, x_given);
  check_like("lstm_backward", "gates", gates_given, {steps, N, 4 * H}, x_given);
  check_like("lstm_backward", "cells", cells_given, {steps, N, H}, x_given);
  const Tensor x = x_given.contiguous(), h0 = h0_given.contiguous(), c0 = c0_given.contiguous();
  const Tensor output = output_given.contiguous(), gates = gates_given.contiguous(), cells = cells_given.contiguous();
  const Tensor grad_output = contiguous_like("lstm_backward", "grad_output", grad_output_given, output.sizes(), output);
  Gradients grads(sizes, x, {wanted[0], wanted[1], wanted[2], wanted[3], wanted[4], wanted[5]}, 4 * H);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "lstm_backward", [&] {
    scalar_t* grad_h = workspace<scalar_t>(Slot::grad_h, N * H);
    scalar_t* grad_c = workspace<scalar_t>(Slot::grad_c, N * H);
    copy_or_zero(contiguous_like("lstm_backward", "grad_h_n", grad_h_n, h0.sizes(), h0), grad_h, N * H);
    copy_or_zero(contiguous_like("lstm_backward", "grad_c_n", grad_c_n, c0.sizes(), c0), grad_c, N * H);
    if (output.numel() > 0) {
      const Panels<scalar_t> panels(Product::backward, weight_ih, weight_hh, sizes, 0, wanted[0]);
      const std::int64_t chunk = chunk_steps(sizes);
      scalar_t* grad_gates = workspace<scalar_t>(Slot::gates, chunk * N * 4 * H);
      for (std::int64_t stop = steps; stop > 0; stop -= std::min(chunk, stop)) {
        const std::int64_t start = std::max<std::int64_t>(0, stop - chunk), count = stop - start;
        const scalar_t* c_prev = start == 0 ? c0.const_data_ptr<scalar_t>() : step_of<scalar_t>(cells, start - 1);
        scalar_t* grad_x = wanted[0] ? grads.x.data_ptr<scalar_t>() + start * N * I : nullptr;
        const LstmBackward<scalar_t> call{count, N, I, H, panels.input, panels.recurrent, step_of<scalar_t>(gates, start), c_prev,
                                          step_of<scalar_t>(cells, start), step_of<scalar_t>(grad_output, start),
                                          grad_h, grad_c, grad_gates, grad_x};
        for_rows(call, 4, lstm_backward);
        grads.add(start, count, grad_gates, 4 * H, 0, 0, x, h0, output);
      }
    }
    if (wanted[1]) std::copy_n(grad_h, N * H, grads.h0.data_ptr<scalar_t>());
    if (wanted[2]) std::copy_n(grad_c, N * H, grads.c0.data_ptr<scalar_t>());
  });
  return {grads.x, grads.h0, grads.c0, grads.weight_ih, grads.weight_hh, grads.bias};
}

std::tuple<Tensor, Tensor, Tensor> gru_sequence(const Tensor& x_given, const Tensor& h0_given, const Tensor& weight_ih,
                                                const Tensor& weight_hh, const OptionalTensor& bias_ih,
                                                const OptionalTensor& bias_hh, bool keep) {
  const Sizes sizes = check_sequence("gru_forward", 3, x_given, h0_given, weight_ih, weight_hh);
  const auto [steps, N, I, H, G] = sizes;
  const Tensor x = x_given.contiguous(), h0 = h0_given.contiguous();
  Tensor output = at::empty({steps, N, H}, x.options());
  Tensor gates = keep ? at::empty({steps, N, 4 * H}, x.options()) : at::empty({0}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "gru_forward", [&] {
    if (output.numel() == 0) return;
    const Panels<scalar_t> panels(Product::forward, weight_ih, weight_hh, sizes, 2 * H);
    const scalar_t* bias = gru_biases<scalar_t>(bias_ih, bias_hh, H, x);
    const std::int64_t chunk = chunk_steps(sizes);
    const scalar_t* h = h0.const_data_ptr<scalar_t>();
    for (std::int64_t start = 0; start < steps; start += chunk) {
      const std::int64_t count = std::min(chunk, steps - start);
      scalar_t* gate = keep ? gates.data_ptr<scalar_t>() + start * N * 4 * H : workspace<scalar_t>(Slot::gates, count * N * 4 * H);
      scalar_t* out = output.data_ptr<scalar_t>() + start * N * H;
      const GruForward<scalar_t> call{count, N, I, H, step_of<scalar_t>(x, start), panels.input, panels.recurrent, bias,
                                      h, gate, out};
      for_rows(call, 3, gru_forward);
      h = out + (count - 1) * N * H;
    }
  });
  return {output, last_state(output, h0), gates};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gru_sequence_backward(
    const OptionalTensor& grad_output_given, const OptionalTensor& grad_h_n, const Tensor& x_given, const Tensor& h0_given,
    const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output_given, const Tensor& gates_given,
    std::array<bool, 6> wanted) {
  const Sizes sizes = check_sequence("gru_backward", 3, x_given, h0_given, weight_ih, weight_hh);
  const auto [steps, N, I, H, G] = sizes;
  check_like("gru_backward", "output", output_given, {steps, N, H}, x_given);
  check_like("gru_backward", "gates", gates_given, {steps, N, 4 * H}, x_given);
  const Tensor x = x_given.contiguous(), h0 = h0_given.contiguous();
  const Tensor output = output_given.contiguous(), gates = gates_given.contiguous();
  const Tensor grad_output = contiguous_like("gru_backward", "grad_output", grad_output_given, output.sizes(), output);
  Gradients grads(sizes, x, {wanted[0], wanted[1], false, wanted[2], wanted[3], wanted[4] || wanted[5]}, 4 * H);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "gru_backward", [&] {
    scalar_t* grad_h = workspace<scalar_t>(Slot::grad_h, N * H);
    copy_or_zero(contiguous_like("gru_backward", "grad_h_n", grad_h_n, h0.sizes(), h0), grad_h, N * H);
    if (output.numel() > 0) {
      const Panels<scalar_t> panels(Product::backward, weight_ih, weight_hh, sizes, 2 * H, wanted[0]);
        const std::int64_t chunk = chunk_steps(sizes);
      scalar_t* grad_gates = workspace<scalar_t>(Slot::gates, chunk * N * 4 * H);
      for (std::int64_t stop = steps; stop > 0; stop -= std::min(chunk, stop)) {
        const std::int64_t start = std::max<std::int64_t>(0, stop - chunk), count = stop - start;
        const scalar_t* h_prev = start == 0 ? h0.const_data_ptr<scalar_t>() : step_of<scalar_t>(output, start - 1);
        scalar_t* grad_x = wanted[0] ? grads.x.data_ptr<scalar_t>() + start * N * I : nullptr;
        const GruBackward<scalar_t> call{count, N, I, H, panels.input, panels.recurrent, step_of<scalar_t>(gates, start), h_prev, step_of<scalar_t>(output, start),
                                         step_of<scalar_t>(grad_output, start), grad_h, grad_gates, grad_x};
        for_rows(call, 3, gru_backward);
        grads.add(start, count, grad_gates, 4 * H, H, 2 * H, x, h0, output);
      }
    }
    if (wanted[1]) std::copy_n(grad_h, N * H, grads.h0.data_ptr<scalar_t>());
  });
  return {grads.x,
          grads.h0,
          grads.weight_ih,
          grads.weight_hh,
          wanted[4] ? at::cat({grads.bias.narrow(0, H, 2 * H), grads.bias.narrow(0, 0, H)}) : at::empty({0}, x.options()),
          wanted[5] ? grads.bias.narrow(0, H, 3 * H).clone() : at::empty({0}, x.options())};
}

}  // namespace impl_torch_ext
