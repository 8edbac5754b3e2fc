// The gradients of one backward call of a recurrent layer, filled chunk by chunk.
// T steps, N batch, I input size, H hidden size, P size of a state h, G gates.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "checks.h"
#include "rnn.h"
#include "rnn_layout.h"
#include "threads.h"

namespace impl_torch_ext {

struct Sizes {
    std::int64_t T, N, I, H, P;
};

// So many multiplications are worth a thread.
constexpr std::int64_t WORTHWHILE = 400000;

// Shares [0, rows) among threads, each of which gets at least so much work (in multiplications a
// row) that waking it pays.
template <typename Work>
void share_rows(std::int64_t rows, std::int64_t multiplications, const Work& work) {
    const std::int64_t least = WORTHWHILE / std::max<std::int64_t>(1, multiplications);
    share(rows, std::max<std::int64_t>(1, least), work);
}

// A row of an array with `columns` elements in each; null where there is no array.
template <typename T>
const T* row_of(const Tensor& array, std::int64_t row, std::int64_t columns) {
    return array.defined() ? array.const_data_ptr<T>() + row * columns : nullptr;
}

// Which gradients a call is asked for.
struct Wanted {
    bool x, h0, c0, weight_ih, weight_hh, bias, weight_hr;
};

// Those that nobody asked for stay empty: an operator cannot return none. `bias` is in the order of
// the columns of a cell.
struct Gradients {
    Tensor x, h0, c0, weight_ih, weight_hh, bias, weight_hr;
};

template <typename Cell>
Gradients make_gradients(const Wanted& wanted, const Sizes& sizes, const Layout& layout,
                         const Tensor& like) {
    const auto [T, N, I, H, P] = sizes;
    const auto options = like.options();
    const auto make = [&](bool asked, at::IntArrayRef shape) {
        return at::empty(asked ? shape : at::IntArrayRef{0}, options);
    };
    // Without a step or a sample nothing is ever added to the sums over steps.
    const bool nothing = layout.rows() == 0;
    const auto make_sum = [&](bool asked, at::IntArrayRef shape) {
        return asked && nothing ? at::zeros(shape, options) : make(asked, shape);
    };
    return {make(wanted.x, layout.shape(I)),
            make(wanted.h0, {N, P}),
            make(wanted.c0, {N, H}),
            make_sum(wanted.weight_ih, {Cell::gates * H, I}),
            make_sum(wanted.weight_hh, {Cell::gates * H, P}),
            make_sum(wanted.bias, {Cell::columns * H}),
            Cell::projected ? make_sum(wanted.weight_hr, {P, H}) : Tensor()};
}

// The columns of a cell by the rows of the weights whose gradients they make.
template <typename Cell>
int segments_of(std::int64_t hidden, Segment* segments) {
    int count = 0;
    for (int column = 0; column < Cell::columns; ++column) {
        const int input = column < Cell::gates ? (column + Cell::input_first) % Cell::gates : -1;
        const bool fed = Cell::state_first <= column && column < Cell::state_first + Cell::gates;
        const int state = fed ? column - Cell::state_first : -1;
        const auto row = [&](int gate) { return gate < 0 ? -1 : gate * hidden; };
        const auto follows = [&](std::int64_t first, int gate) {
            return gate < 0 ? first < 0 : first >= 0 && first + segments->rows == gate * hidden;
        };
        if (count > 0 && follows(segments->input_row, input) &&
            follows(segments->state_row, state)) {
            segments->rows += hidden;
            continue;
        }
        if (count++ > 0) ++segments;
        *segments = {column * hidden, hidden, row(input), row(state)};
    }
    return count;
}

// The sums over steps and samples: the gradients of the weights and biases, to which a chunk of
// steps adds what it contributes.
template <typename Cell, typename T>
class StepSums {
  public:
    // `chunk` is the most steps that are added at once.
    StepSums(const Gradients& grads, const Wanted& wanted, const Sizes& sizes, std::int64_t chunk)
        : sizes_(sizes), bias_(grads.bias) {
        const auto factor = [](bool asked, const Tensor& sum) {
            return asked ? Factor<T>{nullptr, 0, nullptr, sum.size(1), sum.data_ptr<T>()}
                         : Factor<T>{};
        };
        call_.left_stride = Cell::columns * sizes.H;
        call_.input = factor(wanted.weight_ih, grads.weight_ih);
        call_.state = factor(wanted.weight_hh, grads.weight_hh);
        const std::int64_t chunks = (sizes.T + chunk - 1) / chunk;
        const std::int64_t blocks = chunks * blocks_of(chunk * sizes.N);
        const auto levels = std::bit_width(static_cast<std::uint64_t>(blocks));
        if (wanted.bias) call_.bias = workspace<T>(Slot::levels, levels * call_.left_stride);
        call_.segment_count = segments_of<Cell>(sizes.H, call_.segments);
        if constexpr (Cell::projected) {
            projection_.left_stride = sizes.P;
            projection_.input = factor(wanted.weight_hr, grads.weight_hr);
            projection_.segments[0] = {0, sizes.P, 0, -1};
            projection_.segment_count = 1;
        }
    }

    // Takes in the chunk that begins at row `row`.
    void add(const SequenceBackward<T>& chunk, std::int64_t row, const Tensor& x) {
        if (call_.input.columns + call_.state.columns > 0 || call_.bias != nullptr) {
            call_.left = chunk.grad_gates;
            call_.input.rest = row_of<T>(x, row, sizes_.I);
            if (call_.state.columns > 0) set_states(chunk);
            add_up_rows(call_, chunk.steps.all_rows());
        }
        if constexpr (Cell::projected) {
            if (projection_.input.columns == 0) return;
            projection_.left = chunk.grad_states;
            projection_.input.rest = chunk.inner;
            add_up_rows(projection_, chunk.steps.all_rows());
        }
    }

    // Call after the last chunk.
    void finish() {
        if (call_.bias == nullptr) return;
        add_up(call_.bias, call_.left_stride, call_.blocks, bias_.template data_ptr<T>());
    }

  private:
    static std::int64_t blocks_of(std::int64_t rows) {
        return (rows + OUTER_BLOCK - 1) / OUTER_BLOCK;
    }

    // What the state fed in the steps: h0 where they begin, else the output of the step before.
    void set_states(const SequenceBackward<T>& chunk) {
        const Steps& steps = chunk.steps;
        const std::int64_t step = steps.batch * sizes_.P;
        if (steps.starts != nullptr) {
            T* const states = workspace<T>(Slot::states, steps.all_rows() * sizes_.P);
            gather_states(steps, chunk.output, chunk.h0, sizes_.P, states);
            call_.state.rest = states;
        } else if (steps.reverse) {
            call_.state.head = chunk.output + step;
            call_.state.head_rows = steps.all_rows() - (steps.begins ? steps.batch : 0);
            call_.state.rest = chunk.h0;
        } else {
            call_.state.head = chunk.h0;
            call_.state.head_rows = steps.begins ? steps.batch : 0;
            call_.state.rest = chunk.output - (steps.begins ? 0 : step);
        }
    }

    static void add_up_rows(Outer<T>& call, std::int64_t rows) {
        call.depth = rows;
        const std::int64_t tiles = outer_tiles(call);
        const std::int64_t sums = call.left_stride * (call.input.columns + call.state.columns + 1);
        share_rows(tiles, sums * rows / tiles,
                   [&](std::int64_t first, std::int64_t last) { outer(call, first, last); });
        call.blocks += blocks_of(rows);
    }

    Outer<T> call_{}, projection_{};
    Sizes sizes_;
    Tensor bias_;
};

}  // namespace impl_torch_ext
