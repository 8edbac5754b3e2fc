// A recurrent layer over a whole sequence, one driver for all cells: the steps are taken in chunks,
// each a call of the kernels of rnn.h, and on the way back each is added to the sums of
// rnn_gradients.h. T steps, N batch, I input size, H hidden size, P size of a state h, G gates.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

#include "checks.h"
#include "rnn.h"
#include "rnn_gradients.h"
#include "rnn_layout.h"

namespace impl_torch_ext {

// What a layer starts from; c0 is undefined for a cell without c, weight_hr without a projection.
struct Inputs {
    Tensor x, h0, c0, weight_ih, weight_hh, weight_hr;
};

// What it makes of them. `gates` and `cells` are what backward reads, empty where nothing is kept;
// c_n and cells are undefined for a cell without c, gates for one that keeps its output alone.
struct Outputs {
    Tensor output, h_n, c_n, gates, cells;
};

// The gradients that arrive for the outputs; missing where none did.
struct OutputGradients {
    OptionalTensor output, h_n, c_n, cells;
};

// The inputs made contiguous, or an error that names what does not fit.
template <typename Cell>
Inputs check_inputs(const char* name, const Inputs& inputs, bool packed) {
    const auto& [x, h0, c0, weight_ih, weight_hh, weight_hr] = inputs;
    TORCH_CHECK_VALUE(x.dim() == (packed ? 2 : 3), name, ": x must have shape ",
                      packed ? "(rows, I)" : "(T, N, I)", ", got ", x.sizes());
    const Tensor& last = Cell::projected ? weight_hr : weight_hh;
    TORCH_CHECK_VALUE(last.dim() == 2, name,
                      Cell::projected ? ": weight_hr must have shape (P, H), got "
                                      : ": weight_hh must have shape (G H, H), got ",
                      last.sizes());
    const std::int64_t H = last.size(1), P = Cell::projected ? last.size(0) : H;
    const std::int64_t N = packed && h0.dim() == 2 ? h0.size(0) : x.size(1), I = x.size(-1);
    check_like(name, "h0", h0, {N, P}, x);
    check_like(name, "weight_ih", weight_ih, {Cell::gates * H, I}, x);
    check_like(name, "weight_hh", weight_hh, {Cell::gates * H, P}, x);
    if constexpr (Cell::has_c) check_like(name, "c0", c0, {N, H}, x);
    if constexpr (Cell::projected) check_like(name, "weight_hr", weight_hr, {P, H}, x);
    return {x.contiguous(),
            h0.contiguous(),
            Cell::has_c ? c0.contiguous() : Tensor(),
            weight_ih.contiguous(),
            weight_hh.contiguous(),
            Cell::projected ? weight_hr.contiguous() : Tensor()};
}

inline Sizes sizes_of(const Inputs& inputs, const Layout& layout) {
    const Tensor& last = inputs.weight_hr.defined() ? inputs.weight_hr : inputs.weight_hh;
    return {layout.steps(), layout.batch(), inputs.x.size(-1), last.size(1),
            inputs.weight_hh.size(1)};
}

// Tells the system that a large array is better off in large pages: touching fresh ones of the
// usual size costs a thirtieth of what is computed on them.
inline Tensor in_large_pages(const Tensor& array) {
#ifdef MADV_HUGEPAGE
    constexpr std::uintptr_t large = 1 << 25, page = 1 << 12;
    if (array.nbytes() >= large) {
        const auto start = reinterpret_cast<std::uintptr_t>(array.data_ptr());
        const std::uintptr_t first = (start + page - 1) / page * page;
        // A hint: what comes back does not matter.
        madvise(reinterpret_cast<void*>(first), start + array.nbytes() - first, MADV_HUGEPAGE);
    }
#endif
    return array;
}

// Steps that are worked on together, so that the gates of a chunk stay in cache between the
// products and the kernels; fewer where the gates are not kept, as then nothing is added up after
// each chunk.
inline std::int64_t chunk_steps(const Sizes& sizes, bool keep) {
    const std::int64_t elements = keep ? 1 << 20 : 1 << 18;
    const std::int64_t step = std::max<std::int64_t>(1, sizes.N * 4 * sizes.H);
    return std::clamp<std::int64_t>(elements / step, 1, std::max<std::int64_t>(1, sizes.T));
}

// How many threads share the samples, and how many the hidden units of the same samples.
struct Split {
    std::int64_t samples, units;
};

// Threads that have different samples wait for nothing before the end of a chunk, but few samples
// use a weight badly: `step` multiplications for each sample and step, `all` for each in a chunk.
inline Split split_of(std::int64_t samples, std::int64_t units, std::int64_t step,
                      std::int64_t all) {
    // A tile's worth of samples; and so many multiplications take long beside a wait.
    constexpr std::int64_t enough = 8, long_step = 100000;
    const std::int64_t threads = samples * all / WORTHWHILE;
    if (threads < 2) return {1, 1};
    const std::int64_t there = std::min<std::int64_t>(threads, threads_available());
    const std::int64_t full = std::clamp<std::int64_t>(samples / enough, 1, there);
    const std::int64_t most = std::min(units, samples / full * step / long_step);
    const std::int64_t shared = std::min(there / full, most);
    if (shared > 1) return {full, shared};
    return {std::min(there, samples), 1};
}

// Shares a chunk among threads.
template <typename Cell, typename Call>
void for_parts(const Call& call, void (*kernel)(const Call&, const Part&)) {
    const Steps& steps = call.steps;
    const std::int64_t step = (Cell::gates + (Cell::projected ? 1 : 0)) * call.hidden * call.state;
    const std::int64_t all = steps.count * (step + Cell::gates * call.hidden * call.input);
    const std::int64_t units = call.hidden / 32;
    // As many as there are in the mean.
    const std::int64_t samples = std::max<std::int64_t>(1, steps.all_rows() / steps.count);
    const Split split = split_of(samples, units, step, all);
    std::vector<Barrier> barriers(split.units > 1 ? split.samples : 0);
    const std::int64_t threads = split.samples * split.units;
    run_team(threads, [&](const Member& member) {
        // Where there are fewer threads than asked for, none may wait for one that is not there.
        const bool all_there = member.count == threads;
        const std::int64_t parts = all_there ? split.units : 1;
        const std::int64_t row = member.index / parts, rows = member.count / parts;
        kernel(call, {share_of(steps, row, rows), share_of(steps, row + 1, rows),
                      static_cast<int>(member.index % parts), static_cast<int>(parts),
                      parts > 1 ? &barriers[row] : nullptr});
    });
}

// Packs two weights, on several threads if they are large; one without panels is not wanted.
template <typename T>
void pack_both(const Panels<T>& a, const Panels<T>& b) {
    // An element that is moved is worth some multiplications.
    constexpr std::int64_t price = 4;
    const auto elements = [](const Panels<T>& p) { return p.count * p.width * p.gates * p.depth; };
    const std::int64_t count = a.count + b.count;
    share_rows(count, price * (elements(a) + elements(b)) / std::max<std::int64_t>(1, count),
               [&](std::int64_t first, std::int64_t last) {
                   pack(a, std::min(first, a.count), std::min(last, a.count));
                   pack(b, std::max(first, a.count) - a.count, std::max(last, a.count) - a.count);
               });
}

template <typename T>
void copy_or_zero(const Tensor& from, T* to, std::int64_t count) {
    if (from.defined()) {
        std::copy_n(from.const_data_ptr<T>(), count, to);
    } else {
        std::fill_n(to, count, T(0));
    }
}

// b_ih + b_hh, each of which may be missing, in the order of the columns.
template <typename Cell, typename T>
const T* column_biases(const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                       const Sizes& sizes, const Tensor& like) {
    const std::int64_t H = sizes.H, rows = Cell::gates * H;
    const char* name = Cell::forward_name;
    T* bias = workspace<T>(Slot::bias, Cell::columns * H);
    std::fill_n(bias, Cell::columns * H, T(0));
    const Tensor ih = contiguous_like(name, "bias_ih", bias_ih, {rows}, like);
    const Tensor hh = contiguous_like(name, "bias_hh", bias_hh, {rows}, like);
    if (ih.defined()) {
        const T* values = ih.const_data_ptr<T>();
        std::rotate_copy(values, values + Cell::input_first * H, values + rows, bias);
    }
    if (hh.defined()) {
        const T* values = hh.const_data_ptr<T>();
        T* fed = bias + Cell::state_first * H;
        for (std::int64_t i = 0; i < rows; ++i) fed[i] += values[i];
    }
    return bias;
}

// Takes `call` through all chunks, in the order in which the steps are computed.
template <typename Cell, typename T>
void forward_chunks(SequenceForward<T> call, const Inputs& inputs, const Outputs& outputs,
                    const Layout& layout, const Sizes& sizes) {
    const std::int64_t chunk = chunk_steps(sizes, call.keep), H = sizes.H;
    for (std::int64_t done = 0; done < sizes.T; done += chunk) {
        const std::int64_t count = std::min(chunk, sizes.T - done);
        const std::int64_t row = layout.row(layout.first(done, count));
        call.steps = layout.run(done, count);
        const std::int64_t rows = call.steps.all_rows();
        call.x = row_of<T>(inputs.x, row, sizes.I);
        call.output = outputs.output.data_ptr<T>() + row * sizes.P;
        if constexpr (Cell::columns == 1) {
            call.gates = call.output;
        } else {
            call.gates = call.keep ? outputs.gates.data_ptr<T>() + row * Cell::columns * H
                                   : workspace<T>(Slot::gates, rows * Cell::columns * H);
        }
        if constexpr (Cell::projected) call.inner = workspace<T>(Slot::inner, rows * H);
        if constexpr (Cell::has_c) {
            call.cells =
                call.keep ? outputs.cells.data_ptr<T>() + row * H : outputs.c_n.data_ptr<T>();
        }
        for_parts<Cell>(call, sequence_forward<Cell, T>);
    }
}

template <typename Cell, typename T>
void forward_sequence(const Inputs& inputs, const OptionalTensor& bias_ih,
                      const OptionalTensor& bias_hh, const Outputs& outputs, const Layout& layout,
                      const Sizes& sizes, bool keep, bool relu) {
    const std::int64_t I = sizes.I, H = sizes.H, P = sizes.P;
    SequenceForward<T> call{};
    call.relu = relu;
    call.keep = keep;
    call.input = I;
    call.hidden = H;
    call.state = P;
    const Panels<T> panels =
        recurrent_panels(inputs.weight_hh.const_data_ptr<T>(), Cell::gates, H, P, Slot::panels);
    const Panels<T> input_panels =
        transposed_panels(inputs.weight_ih.const_data_ptr<T>(), Cell::gates * H, I,
                          Cell::input_first * H, Slot::input_panels);
    pack_both(panels, input_panels);
    call.panels = panels.memory;
    call.input_panels = input_panels.memory;
    if constexpr (Cell::projected) {
        const Panels<T> projection = transposed_panels(inputs.weight_hr.const_data_ptr<T>(), P, H,
                                                       0, Slot::projection_panels);
        pack(projection, 0, projection.count);
        call.projection_panels = projection.memory;
    }
    call.bias = column_biases<Cell, T>(bias_ih, bias_hh, sizes, inputs.x);
    call.h0 = inputs.h0.const_data_ptr<T>();
    // Without cells to keep, c is replaced step by step where c_n will be read.
    if constexpr (Cell::has_c) {
        call.c0 = (keep ? inputs.c0 : outputs.c_n).template const_data_ptr<T>();
        call.cells_stride = keep ? H : 0;
    }
    forward_chunks<Cell>(call, inputs, outputs, layout, sizes);
}

// The layer over the whole sequence; with `keep` also what backward reads.
template <typename Cell>
Outputs run_forward(const Inputs& arguments, const OptionalTensor& bias_ih,
                    const OptionalTensor& bias_hh, bool keep, const Order& order,
                    bool relu = false) {
    constexpr const char* name = Cell::forward_name;
    const Inputs inputs = check_inputs<Cell>(name, arguments, order.batch_sizes.has_value());
    const Layout layout(name, order, inputs.x, inputs.h0.size(0));
    const Sizes sizes = sizes_of(inputs, layout);
    const std::int64_t H = sizes.H;
    const auto make = [&](bool wanted, std::int64_t columns) {
        const auto shape = layout.shape(columns);
        return in_large_pages(
            at::empty(wanted ? at::IntArrayRef(shape) : at::IntArrayRef{0}, inputs.x.options()));
    };
    Outputs outputs;
    outputs.output = make(true, sizes.P);
    if constexpr (Cell::columns > 1) outputs.gates = make(keep, Cell::columns * H);
    if constexpr (Cell::has_c) {
        outputs.cells = make(keep, H);
        outputs.c_n = inputs.c0.clone();
    }
    outputs.h_n = at::empty(inputs.h0.sizes(), inputs.x.options());
    AT_DISPATCH_FLOATING_TYPES(inputs.x.scalar_type(), name, [&] {
        if (layout.rows() > 0) {
            forward_sequence<Cell, scalar_t>(inputs, bias_ih, bias_hh, outputs, layout, sizes, keep,
                                             relu);
        }
        last_states(layout, outputs.output.const_data_ptr<scalar_t>(),
                    inputs.h0.const_data_ptr<scalar_t>(), sizes.P,
                    outputs.h_n.data_ptr<scalar_t>());
        if constexpr (Cell::has_c) {
            if (keep) {
                last_states(layout, outputs.cells.const_data_ptr<scalar_t>(),
                            inputs.c0.const_data_ptr<scalar_t>(), H,
                            outputs.c_n.data_ptr<scalar_t>());
            }
        }
    });
    return outputs;
}

// What forward kept, made contiguous, or an error that names what does not fit.
template <typename Cell>
Outputs check_outputs(const Outputs& outputs, const Layout& layout, const Sizes& sizes,
                      const Tensor& like) {
    const char* name = Cell::backward_name;
    Outputs checked;
    checked.output = contiguous_like(name, "output", outputs.output, layout.shape(sizes.P), like);
    if constexpr (Cell::columns > 1) {
        checked.gates = contiguous_like(name, "gates", outputs.gates,
                                        layout.shape(Cell::columns * sizes.H), like);
    } else {
        checked.gates = checked.output;
    }
    if constexpr (Cell::has_c) {
        checked.cells = contiguous_like(name, "cells", outputs.cells, layout.shape(sizes.H), like);
    }
    return checked;
}

// Takes `call` through all chunks, against the order in which the steps were computed.
template <typename Cell, typename T>
void backward_chunks(SequenceBackward<T> call, const Inputs& inputs, const Outputs& outputs,
                     const Tensor& grad_output, const Tensor& grad_cells, const Gradients& grads,
                     const Wanted& wanted, const Layout& layout, const Sizes& sizes) {
    const std::int64_t chunk = chunk_steps(sizes, true), I = sizes.I, H = sizes.H, P = sizes.P;
    const std::int64_t most = chunk * sizes.N;
    StepSums<Cell, T> sums(grads, wanted, sizes, chunk);
    call.grad_gates = workspace<T>(Slot::gates, most * Cell::columns * H);
    if constexpr (Cell::projected) {
        call.grad_states = workspace<T>(Slot::grad_states, most * P);
        call.inner = workspace<T>(Slot::inner, most * H);
    }
    for (std::int64_t left = sizes.T, count; left > 0; left -= count) {
        count = std::min(chunk, left);
        const std::int64_t row = layout.row(layout.first(left - count, count));
        call.steps = layout.run(left - count, count);
        call.gates = row_of<T>(outputs.gates, row, Cell::columns * H);
        call.output = row_of<T>(outputs.output, row, P);
        if constexpr (Cell::has_c) call.cells = row_of<T>(outputs.cells, row, H);
        call.grad_output = row_of<T>(grad_output, row, P);
        call.grad_cells = row_of<T>(grad_cells, row, H);
        call.grad_x = wanted.x ? grads.x.data_ptr<T>() + row * I : nullptr;
        for_parts<Cell>(call, sequence_backward<Cell, T>);
        sums.add(call, row, inputs.x);
    }
    sums.finish();
}

// Packs the weights as a backward call wants them.
template <typename Cell, typename T>
void pack_backward(SequenceBackward<T>& call, const Inputs& inputs, const Sizes& sizes,
                   bool wants_x) {
    const std::int64_t I = sizes.I, H = sizes.H, P = sizes.P, rows = Cell::gates * H;
    const Panels<T> panels =
        plain_panels(inputs.weight_hh.const_data_ptr<T>(), rows, P, 0, Slot::panels);
    Panels<T> input_panels{};
    if (wants_x) {
        input_panels = plain_panels(inputs.weight_ih.const_data_ptr<T>(), rows, I,
                                    Cell::input_first * H, Slot::input_panels);
    }
    pack_both(panels, input_panels);
    call.panels = panels.memory;
    call.input_panels = input_panels.memory;
    if constexpr (Cell::projected) {
        const Panels<T> projection =
            plain_panels(inputs.weight_hr.const_data_ptr<T>(), P, H, 0, Slot::projection_panels);
        pack(projection, 0, projection.count);
        call.projection_panels = projection.memory;
    }
}

template <typename Cell, typename T>
void backward_sequence(const Inputs& inputs, const Outputs& outputs,
                       const OutputGradients& grad_outputs, const Tensor& grad_output,
                       const Gradients& grads, const Wanted& wanted, const Layout& layout,
                       const Sizes& sizes, bool relu) {
    const std::int64_t N = sizes.N, H = sizes.H, P = sizes.P;
    const auto start_from = [&](const char* argument, const OptionalTensor& grad,
                                std::int64_t columns, Slot slot) {
        T* const state = workspace<T>(slot, N * columns);
        const Tensor given =
            contiguous_like(Cell::backward_name, argument, grad, {N, columns}, inputs.x);
        copy_or_zero(given, state, N * columns);
        return state;
    };
    SequenceBackward<T> call{};
    call.relu = relu;
    call.input = sizes.I;
    call.hidden = H;
    call.state = P;
    call.h0 = inputs.h0.const_data_ptr<T>();
    call.grad_h = start_from("grad_h_n", grad_outputs.h_n, P, Slot::grad_h);
    if constexpr (Cell::has_c) {
        call.c0 = inputs.c0.const_data_ptr<T>();
        call.grad_c = start_from("grad_c_n", grad_outputs.c_n, H, Slot::grad_c);
    }
    if (layout.rows() > 0) {
        pack_backward<Cell>(call, inputs, sizes, wanted.x);
        const Tensor grad_cells = contiguous_like(Cell::backward_name, "grad_cells",
                                                  grad_outputs.cells, layout.shape(H), inputs.x);
        backward_chunks<Cell>(call, inputs, outputs, grad_output, grad_cells, grads, wanted, layout,
                              sizes);
    }
    if (wanted.h0) std::copy_n(call.grad_h, N * P, grads.h0.data_ptr<T>());
    if constexpr (Cell::has_c) {
        if (wanted.c0) std::copy_n(call.grad_c, N * H, grads.c0.data_ptr<T>());
    }
}

// The gradients of the layer, from what run_forward kept in `outputs`.
template <typename Cell>
Gradients run_backward(const Inputs& arguments, const Outputs& kept,
                       const OutputGradients& grad_outputs, const Wanted& wanted,
                       const Order& order, bool relu = false) {
    constexpr const char* name = Cell::backward_name;
    const Inputs inputs = check_inputs<Cell>(name, arguments, order.batch_sizes.has_value());
    const Layout layout(name, order, inputs.x, inputs.h0.size(0));
    const Sizes sizes = sizes_of(inputs, layout);
    const Outputs outputs = check_outputs<Cell>(kept, layout, sizes, inputs.x);
    const Tensor grad_output = contiguous_like(name, "grad_output", grad_outputs.output,
                                               outputs.output.sizes(), outputs.output);
    const Gradients grads = make_gradients<Cell>(wanted, sizes, layout, inputs.x);
    AT_DISPATCH_FLOATING_TYPES(inputs.x.scalar_type(), name, [&] {
        backward_sequence<Cell, scalar_t>(inputs, outputs, grad_outputs, grad_output, grads, wanted,
                                          layout, sizes, relu);
    });
    return grads;
}

}  // namespace impl_torch_ext
