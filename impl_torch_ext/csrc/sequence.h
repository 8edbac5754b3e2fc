// What the three recurrent layers share on the torch side: checks, buffers, the large products, the split over threads.
// T steps, N batch, I input size, H hidden size, G gates.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

#include "rnn.h"

namespace impl_torch_ext {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

struct Sizes {
  std::int64_t T, N, I, H, G;
};

// Sizes of a call, or an error that names what does not fit. States are (N, H).
Sizes check_sequence(const char* name, std::int64_t gates, const Tensor& x, const Tensor& h0, const Tensor& weight_ih,
                     const Tensor& weight_hh);
void check_like(const char* name, const char* argument, const Tensor& given, at::IntArrayRef shape, const Tensor& x);

// Steps that are worked on together, so that the gates of a chunk stay in cache between the products and the kernels.
inline std::int64_t chunk_steps(const Sizes& sizes) {
  constexpr std::int64_t elements = 1 << 20;
  const std::int64_t step = std::max<std::int64_t>(1, sizes.N * 4 * sizes.H);
  return std::clamp<std::int64_t>(elements / step, 1, std::max<std::int64_t>(1, sizes.T));
}

// Shares [0, rows) among threads, each of which gets at least so much work (in multiplications a row) that waking it pays.
template <typename Work>
void share(std::int64_t rows, std::int64_t multiplications, const Work& work) {
  constexpr std::int64_t worthwhile = 400000;
  at::parallel_for(0, rows, std::max<std::int64_t>(8, worthwhile / std::max<std::int64_t>(1, multiplications)), work);
}

// The batch is split over threads once a chunk; a row's steps all run on one thread, so that nothing is waited for.
template <typename Call>
void for_rows(const Call& call, std::int64_t gates, void (*kernel)(const Call&, std::int64_t, std::int64_t)) {
  share(call.batch, gates * call.hidden * (call.hidden + call.input) * call.steps,
        [&](std::int64_t first, std::int64_t last) { kernel(call, first, last); });
}

// The gradients of one backward call, filled chunk by chunk from the last to the first. Those that nobody asked for stay empty:
// an operator cannot return none.
class Gradients {
 public:
  struct Wanted {
    bool x, h0, c0, weight_ih, weight_hh, bias;
  };

  // `bias_size` is G H, but 4 H for the GRU, whose two biases differ in one gate.
  Gradients(const Sizes& sizes, const Tensor& like, const Wanted& wanted, std::int64_t bias_size);

  // Takes in the gradients of the gates of steps [start, start + steps), in rows of `stride` elements: the first G H belong to what
  // the input feeds, G H from `offset` on to what the state feeds. `rotate` is the row of weight_ih that the first one belongs to.
  template <typename T>
  void add(std::int64_t start, std::int64_t steps, const T* grad, std::int64_t stride, std::int64_t offset, std::int64_t rotate,
           const Tensor& x_values, const Tensor& h0_values, const Tensor& output_values);

  Tensor x, h0, c0, weight_ih, weight_hh, bias;

 private:
  Sizes sizes_;
  Wanted wanted_;
  bool first_ = true;
};

std::tuple<Tensor, Tensor> rnn_sequence(const Tensor& x, const Tensor& h0, const Tensor& weight_ih, const Tensor& weight_hh,
                                        const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, bool relu);
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_sequence_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const Tensor& x, const Tensor& h0, const Tensor& weight_ih,
    const Tensor& weight_hh, const Tensor& output, bool relu, std::array<bool, 5> wanted);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> lstm_sequence(const Tensor& x, const Tensor& h0, const Tensor& c0,
                                                                 const Tensor& weight_ih, const Tensor& weight_hh,
                                                                 const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                                                                 bool keep);
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm_sequence_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n, const Tensor& x, const Tensor& h0,
    const Tensor& c0, const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output, const Tensor& gates, const Tensor& cells,
    std::array<bool, 6> wanted);

std::tuple<Tensor, Tensor, Tensor> gru_sequence(const Tensor& x, const Tensor& h0, const Tensor& weight_ih, const Tensor& weight_hh,
                                                const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, bool keep);
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gru_sequence_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const Tensor& x, const Tensor& h0, const Tensor& weight_ih,
    const Tensor& weight_hh, const Tensor& output, const Tensor& gates, std::array<bool, 6> wanted);

}  // namespace impl_torch_ext
