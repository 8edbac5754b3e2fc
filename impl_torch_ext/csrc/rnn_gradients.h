// The gradients of one backward call of a recurrent layer, filled chunk by chunk.
// T steps, N batch, I input size, H hidden size, G gates.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>

#include "checks.h"
#include "rnn.h"

namespace impl_torch_ext {

struct Sizes {
    std::int64_t T, N, I, H;
};

// Shares [0, rows) among threads, each of which gets at least so much work (in multiplications a
// row) that waking it pays.
template <typename Work>
void share(std::int64_t rows, std::int64_t multiplications, const Work& work) {
    constexpr std::int64_t worthwhile = 400000;
    const std::int64_t least = worthwhile / std::max<std::int64_t>(1, multiplications);
    at::parallel_for(0, rows, std::max<std::int64_t>(8, least), work);
}

// Step `step` of an array (T, N, ...); null where there is no array.
template <typename T>
const T* step_of(const Tensor& array, std::int64_t step) {
    if (!array.defined()) return nullptr;
    return array.const_data_ptr<T>() + step * array.size(1) * array.size(2);
}

// Which gradients a call is asked for.
struct Wanted {
    bool x, h0, c0, weight_ih, weight_hh, bias;
};

// Those that nobody asked for stay empty: an operator cannot return none. `bias` is in the order of
// the columns of a cell.
struct Gradients {
    Tensor x, h0, c0, weight_ih, weight_hh, bias;
};

template <typename Cell>
Gradients make_gradients(const Wanted& wanted, const Sizes& sizes, const Tensor& like) {
    const auto [T, N, I, H] = sizes;
    const auto options = like.options();
    const auto make = [&](bool asked, at::IntArrayRef shape) {
        return at::empty(asked ? shape : at::IntArrayRef{0}, options);
    };
    // Without a step or a sample nothing is ever added to the sums over steps.
    const bool nothing = T * N == 0;
    const auto make_sum = [&](bool asked, at::IntArrayRef shape) {
        return asked && nothing ? at::zeros(shape, options) : make(asked, shape);
    };
    return {make(wanted.x, {T, N, I}),
            make(wanted.h0, {N, H}),
            make(wanted.c0, {N, H}),
            make_sum(wanted.weight_ih, {Cell::gates * H, I}),
            make_sum(wanted.weight_hh, {Cell::gates * H, H}),
            make_sum(wanted.bias, {Cell::columns * H})};
}

// The sums over steps and samples: the gradients of the weights and biases, to which a chunk of
// steps adds what its grad_gates contribute.
template <typename Cell, typename T>
class StepSums {
  public:
    StepSums(const Gradients& grads, const Wanted& wanted, const Sizes& sizes)
        : grads_(grads), wanted_(wanted), sizes_(sizes) {}

    // Takes in the chunk that begins at step `start`.
    void add(const T* grad_gates, std::int64_t start, std::int64_t steps, const Tensor& x,
             const Tensor& h0, const Tensor& output) {
        const std::int64_t depth = steps * sizes_.N;
        if (wanted_.weight_ih) add_weight_ih(grad_gates, step_of<T>(x, start), depth);
        if (wanted_.weight_hh) {
            const T* left = grad_gates + Cell::state_first * sizes_.H;
            if (start > 0) {
                add_weight_hh(left, step_of<T>(output, start - 1), depth, !first_);
            } else {
                add_weight_hh(left, h0.const_data_ptr<T>(), sizes_.N, !first_);
                if (steps > 1) {
                    const T* from_second = left + sizes_.N * stride();
                    add_weight_hh(from_second, step_of<T>(output, 0), depth - sizes_.N, true);
                }
            }
        }
        if (wanted_.bias) add_bias(grad_gates, depth, x);
        first_ = false;
    }

  private:
    std::int64_t stride() const { return Cell::columns * sizes_.H; }

    // Columns begin with gate input_first, rows of the weight with gate 0.
    void add_weight_ih(const T* grad_gates, const T* x, std::int64_t depth) {
        const std::int64_t I = sizes_.I, rows = Cell::gates * sizes_.H;
        const std::int64_t rotate = Cell::input_first * sizes_.H;
        T* sum = grads_.weight_ih.template data_ptr<T>();
        add_outer(sum + rotate * I, rows - rotate, I, grad_gates, x, depth, !first_);
        if constexpr (Cell::input_first > 0) {
            add_outer(sum, rotate, I, grad_gates + (rows - rotate), x, depth, !first_);
        }
    }

    void add_weight_hh(const T* left, const T* h_prev, std::int64_t depth, bool add) {
        T* sum = grads_.weight_hh.template data_ptr<T>();
        add_outer(sum, Cell::gates * sizes_.H, sizes_.H, left, h_prev, depth, add);
    }

    void add_bias(const T* grad_gates, std::int64_t depth, const Tensor& like) {
        // torch sums in blocks; a running sum over all steps would lose digits.
        const Tensor rows =
            at::from_blob(const_cast<T*>(grad_gates), {depth, stride()}, like.options());
        if (first_) {
            at::sum_out(grads_.bias, rows, 0);
        } else {
            grads_.bias.add_(rows.sum(0));
        }
    }

    // sum (+)= left^T right, the sum a contiguous matrix.
    void add_outer(T* sum, std::int64_t rows, std::int64_t columns, const T* left, const T* right,
                   std::int64_t depth, bool add) {
        const Outer<T> call{depth, columns, left, stride(), right, columns, sum, add};
        share(rows, depth * columns,
              [&](std::int64_t first, std::int64_t last) { outer(call, first, last); });
    }

    Gradients grads_;
    Wanted wanted_;
    Sizes sizes_;
    bool first_ = true;
};

}  // namespace impl_torch_ext
