// Where the steps of a call of a recurrent layer lie, and in which order they are computed.
// T steps, N batch, P size of a state h.
//
// An array of a call has a row for each sample of each step. Where all samples have all steps it is
// (T, N, ...). Else the samples stand in falling order of length and only the rows that are there
// are kept, step after step: batch_sizes says how many each step has, as in
// torch.nn.utils.rnn.PackedSequence.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checks.h"
#include "kernels.h"

namespace impl_torch_ext {

// How a call runs through the steps.
struct Order {
    OptionalTensor batch_sizes;
    bool reverse;
};

class Layout {
  public:
    // Raises ValueError or TypeError unless `order` fits x of shape (T, N, I), or of (rows, I) with
    // batch sizes.
    Layout(const char* name, const Order& order, const Tensor& x, std::int64_t batch)
        : batch_(batch), reverse_(order.reverse) {
        if (!order.batch_sizes.has_value()) {
            steps_ = x.size(0);
            return;
        }
        const Tensor& given = *order.batch_sizes;
        TORCH_CHECK_TYPE(given.scalar_type() == at::kLong && given.device().is_cpu(), name,
                         ": batch_sizes must be int64 on the CPU, got ", given.scalar_type(),
                         " on ", given.device());
        TORCH_CHECK_VALUE(given.dim() == 1, name, ": batch_sizes must have shape (T,), got ",
                          given.sizes());
        const Tensor sizes = given.contiguous();
        const std::int64_t* const rows = sizes.const_data_ptr<std::int64_t>();
        steps_ = sizes.numel();
        starts_.assign(steps_ + 1, 0);
        for (std::int64_t t = 0; t < steps_; ++t) {
            TORCH_CHECK_VALUE(0 < rows[t] && rows[t] <= (t == 0 ? batch : rows[t - 1]), name,
                              ": batch_sizes must be positive, not rise and start with at most ",
                              batch, ", got ", rows[t], " at step ", t);
            starts_[t + 1] = starts_[t] + rows[t];
        }
        TORCH_CHECK_VALUE(starts_.back() == x.size(0), name,
                          ": x must have as many rows as batch_sizes has in all, ", starts_.back(),
                          ", got ", x.size(0));
    }

    std::int64_t steps() const { return steps_; }
    std::int64_t batch() const { return batch_; }
    std::int64_t rows() const { return row(steps_); }
    // The first row of step t; that of step T is all rows.
    std::int64_t row(std::int64_t t) const { return packed() ? starts_[t] : t * batch_; }
    bool packed() const { return !starts_.empty(); }

    // The shape of an array with `columns` elements in a row.
    c10::SmallVector<std::int64_t, 3> shape(std::int64_t columns) const {
        if (packed()) return {rows(), columns};
        return {steps_, batch_, columns};
    }

    // The first in time of `count` steps before which `done` were computed.
    std::int64_t first(std::int64_t done, std::int64_t count) const {
        return reverse_ ? steps_ - done - count : done;
    }

    // Those steps.
    Steps run(std::int64_t done, std::int64_t count) const {
        const std::int64_t* const starts = packed() ? starts_.data() + first(done, count) : nullptr;
        return {count, batch_, starts, reverse_, done == 0};
    }

  private:
    std::int64_t steps_, batch_;
    std::vector<std::int64_t> starts_;  // of each step, and one more; empty where all are whole
    bool reverse_;
};

// The state (N, columns) after each sample's own last step, from the states of all steps; that of a
// sample without a step is its first.
template <typename T>
void last_states(const Layout& layout, const T* states, const T* first, std::int64_t columns,
                 T* to) {
    const Steps all = layout.run(0, layout.steps());
    std::int64_t done = 0;
    for (std::int64_t i = all.count - 1; i >= 0 && done < all.batch; --i) {
        // Those whose last step this is follow on those of the steps after it.
        const std::int64_t t = all.number(i), stop = std::max(done, all.rows(t));
        std::copy_n(states + (all.start(t) + done) * columns, (stop - done) * columns,
                    to + done * columns);
        done = stop;
    }
    std::copy_n(first + done * columns, (all.batch - done) * columns, to + done * columns);
}

// The states (rows, P) that the steps of a packed run were fed.
template <typename T>
void gather_states(const Steps& steps, const T* output, const T* h0, std::int64_t P, T* to) {
    for (std::int64_t t = 0; t < steps.count; ++t) {
        const std::int64_t rows = steps.rows(t), running = steps.running(t);
        if (running > 0) {
            to = std::copy_n(output + steps.start(steps.before(t)) * P, running * P, to);
        }
        to = std::copy_n(h0 + running * P, (rows - running) * P, to);
    }
}

// The sample where share `index` of `count` begins, so that all shares have as many rows.
inline std::int64_t share_of(const Steps& steps, std::int64_t index, std::int64_t count) {
    if (steps.starts == nullptr || index == count) return steps.batch * index / count;
    const std::int64_t wanted = steps.all_rows() * index / count;
    std::int64_t low = 0, high = steps.batch;
    while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        std::int64_t rows = 0;
        for (std::int64_t t = 0; t < steps.count; ++t) rows += std::min(middle, steps.rows(t));
        if (rows < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

}  // namespace impl_torch_ext
