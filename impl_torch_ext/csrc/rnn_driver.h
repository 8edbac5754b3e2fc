// A recurrent layer over a whole sequence, one driver for all cells: the steps are taken in chunks,
// each a call of the kernels of rnn.h, and on the way back each is added to the sums of
// rnn_gradients.h. T steps, N batch, I input size, H hidden size, G gates.
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

namespace impl_torch_ext {

// What a layer starts from; c0 is undefined for a cell without c.
struct Inputs {
    Tensor x, h0, c0, weight_ih, weight_hh;
};

// What it makes of them. `gates` and `cells` are what backward reads, empty where nothing is kept;
// c_n and cells are undefined for a cell without c, gates for one that keeps its output alone.
struct Outputs {
    Tensor output, h_n, c_n, gates, cells;
};

// The gradients that arrive for the outputs; missing where none did.
struct OutputGradients {
    OptionalTensor output, h_n, c_n;
};

// The inputs made contiguous, or an error that names what does not fit.
template <typename Cell>
Inputs check_inputs(const char* name, const Inputs& inputs) {
    const auto& [x, h0, c0, weight_ih, weight_hh] = inputs;
    TORCH_CHECK_VALUE(x.dim() == 3, name, ": x must have shape (T, N, I), got ", x.sizes());
    TORCH_CHECK_VALUE(weight_hh.dim() == 2, name, ": weight_hh must have shape (G H, H), got ",
                      weight_hh.sizes());
    const std::int64_t N = x.size(1), I = x.size(2), H = weight_hh.size(1);
    check_like(name, "h0", h0, {N, H}, x);
    check_like(name, "weight_ih", weight_ih, {Cell::gates * H, I}, x);
    check_like(name, "weight_hh", weight_hh, {Cell::gates * H, H}, x);
    if constexpr (Cell::has_c) check_like(name, "c0", c0, {N, H}, x);
    return {x.contiguous(), h0.contiguous(), Cell::has_c ? c0.contiguous() : Tensor(),
            weight_ih.contiguous(), weight_hh.contiguous()};
}

inline Sizes sizes_of(const Inputs& inputs) {
    return {inputs.x.size(0), inputs.x.size(1), inputs.x.size(2), inputs.weight_hh.size(1)};
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
    const std::int64_t step = Cell::gates * call.hidden * call.hidden;
    const std::int64_t all = call.steps * (step + Cell::gates * call.hidden * call.input);
    const std::int64_t units = call.hidden / 32;
    const Split split = split_of(call.batch, units, step, all);
    std::vector<Barrier> barriers(split.units > 1 ? split.samples : 0);
    const std::int64_t threads = split.samples * split.units;
    run_team(threads, [&](const Member& member) {
        // Where there are fewer threads than asked for, none may wait for one that is not there.
        const bool all_there = member.count == threads;
        const std::int64_t parts = all_there ? split.units : 1;
        const std::int64_t row = member.index / parts;
        const auto [first, last] = part_of(call.batch, row, member.count / parts);
        kernel(call, {first, last, static_cast<int>(member.index % parts), static_cast<int>(parts),
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

// Takes `call` through all chunks from the first to the last.
template <typename Cell, typename T>
void forward_chunks(SequenceForward<T> call, const Inputs& inputs, const Outputs& outputs,
                    const Sizes& sizes, bool keep) {
    const std::int64_t chunk = chunk_steps(sizes, keep);
    const std::int64_t state = sizes.N * sizes.H, columns = Cell::columns * state;
    for (std::int64_t start = 0; start < sizes.T; start += chunk) {
        call.steps = std::min(chunk, sizes.T - start);
        call.x = step_of<T>(inputs.x, start);
        call.output = outputs.output.data_ptr<T>() + start * state;
        if constexpr (Cell::columns == 1) {
            call.gates = call.output;
        } else {
            call.gates = keep ? outputs.gates.data_ptr<T>() + start * columns
                              : workspace<T>(Slot::gates, call.steps * columns);
        }
        if constexpr (Cell::has_c) {
            call.cells_stride = keep ? state : 0;
            call.cells =
                keep ? outputs.cells.data_ptr<T>() + start * state : outputs.c_n.data_ptr<T>();
        }
        for_parts<Cell>(call, sequence_forward<Cell, T>);
        call.h_prev = call.output + (call.steps - 1) * state;
        if constexpr (Cell::has_c) call.c_prev = call.cells + (call.steps - 1) * call.cells_stride;
    }
    if constexpr (Cell::has_c) {
        if (keep) std::copy_n(call.c_prev, state, outputs.c_n.data_ptr<T>());
    }
}

template <typename Cell, typename T>
void forward_sequence(const Inputs& inputs, const OptionalTensor& bias_ih,
                      const OptionalTensor& bias_hh, const Outputs& outputs, const Sizes& sizes,
                      bool keep, bool relu) {
    const std::int64_t I = sizes.I, H = sizes.H;
    SequenceForward<T> call{};
    call.relu = relu;
    call.keep = keep;
    call.batch = sizes.N;
    call.input = I;
    call.hidden = H;
    const Panels<T> panels =
        recurrent_panels(inputs.weight_hh.const_data_ptr<T>(), Cell::gates, H, Slot::panels);
    const Panels<T> input_panels =
        transposed_panels(inputs.weight_ih.const_data_ptr<T>(), Cell::gates * H, I,
                          Cell::input_first * H, Slot::input_panels);
    pack_both(panels, input_panels);
    call.panels = panels.memory;
    call.input_panels = input_panels.memory;
    call.bias = column_biases<Cell, T>(bias_ih, bias_hh, sizes, inputs.x);
    call.h_prev = inputs.h0.const_data_ptr<T>();
    // Without cells to keep, c is replaced step by step where c_n will be read.
    if constexpr (Cell::has_c) {
        call.c_prev = (keep ? inputs.c0 : outputs.c_n).template const_data_ptr<T>();
    }
    forward_chunks<Cell>(call, inputs, outputs, sizes, keep);
}

// The layer over the whole sequence; with `keep` also what backward reads.
template <typename Cell>
Outputs run_forward(const Inputs& arguments, const OptionalTensor& bias_ih,
                    const OptionalTensor& bias_hh, bool keep, bool relu = false) {
    const Inputs inputs = check_inputs<Cell>(Cell::forward_name, arguments);
    const Sizes sizes = sizes_of(inputs);
    const std::int64_t steps = sizes.T, N = sizes.N, H = sizes.H;
    const auto make = [&](bool wanted, at::IntArrayRef shape) {
        return in_large_pages(at::empty(wanted ? shape : at::IntArrayRef{0}, inputs.x.options()));
    };
    Outputs outputs;
    outputs.output = make(true, {steps, N, H});
    if constexpr (Cell::columns > 1) outputs.gates = make(keep, {steps, N, Cell::columns * H});
    if constexpr (Cell::has_c) {
        outputs.cells = make(keep, {steps, N, H});
        outputs.c_n = inputs.c0.clone();
    }
    AT_DISPATCH_FLOATING_TYPES(inputs.x.scalar_type(), Cell::forward_name, [&] {
        if (outputs.output.numel() == 0) return;
        forward_sequence<Cell, scalar_t>(inputs, bias_ih, bias_hh, outputs, sizes, keep, relu);
    });
    outputs.h_n = steps == 0 ? inputs.h0.clone() : outputs.output.select(0, steps - 1).clone();
    return outputs;
}

// What forward kept, made contiguous, or an error that names what does not fit.
template <typename Cell>
Outputs check_outputs(const Outputs& outputs, const Sizes& sizes, const Tensor& like) {
    const auto [T, N, I, H] = sizes;
    const char* name = Cell::backward_name;
    Outputs checked;
    checked.output = contiguous_like(name, "output", outputs.output, {T, N, H}, like);
    if constexpr (Cell::columns > 1) {
        checked.gates =
            contiguous_like(name, "gates", outputs.gates, {T, N, Cell::columns * H}, like);
    } else {
        checked.gates = checked.output;
    }
    if constexpr (Cell::has_c) {
        checked.cells = contiguous_like(name, "cells", outputs.cells, {T, N, H}, like);
    }
    return checked;
}

// Takes `call` through all chunks from the last to the first.
template <typename Cell, typename T>
void backward_chunks(SequenceBackward<T> call, const Inputs& inputs, const Outputs& outputs,
                     const Tensor& grad_output, const Gradients& grads, const Wanted& wanted,
                     const Sizes& sizes) {
    const std::int64_t chunk = chunk_steps(sizes, true), N = sizes.N, I = sizes.I;
    StepSums<Cell, T> sums(grads, wanted, sizes, chunk);
    call.grad_gates = workspace<T>(Slot::gates, chunk * N * Cell::columns * sizes.H);
    const auto before = [](std::int64_t start, const Tensor& initial, const Tensor& states) {
        return start == 0 ? initial.const_data_ptr<T>() : step_of<T>(states, start - 1);
    };
    for (std::int64_t stop = sizes.T; stop > 0; stop -= call.steps) {
        const std::int64_t start = std::max<std::int64_t>(0, stop - chunk);
        call.steps = stop - start;
        call.h_prev = before(start, inputs.h0, outputs.output);
        call.gates = step_of<T>(outputs.gates, start);
        call.output = step_of<T>(outputs.output, start);
        if constexpr (Cell::has_c) {
            call.c_prev = before(start, inputs.c0, outputs.cells);
            call.cells = step_of<T>(outputs.cells, start);
        }
        call.grad_output = step_of<T>(grad_output, start);
        call.grad_x = wanted.x ? grads.x.data_ptr<T>() + start * N * I : nullptr;
        for_parts<Cell>(call, sequence_backward<Cell, T>);
        sums.add(call.grad_gates, start, call.steps, inputs.x, inputs.h0, outputs.output);
    }
    sums.finish();
}

template <typename Cell, typename T>
void backward_sequence(const Inputs& inputs, const Outputs& outputs,
                       const OutputGradients& grad_outputs, const Tensor& grad_output,
                       const Gradients& grads, const Wanted& wanted, const Sizes& sizes,
                       bool relu) {
    const std::int64_t N = sizes.N, I = sizes.I, H = sizes.H, rows = Cell::gates * H;
    const auto start_from = [&](const char* argument, const OptionalTensor& grad, Slot slot) {
        T* const state = workspace<T>(slot, N * H);
        copy_or_zero(contiguous_like(Cell::backward_name, argument, grad, {N, H}, inputs.x), state,
                     N * H);
        return state;
    };
    SequenceBackward<T> call{};
    call.relu = relu;
    call.batch = N;
    call.input = I;
    call.hidden = H;
    call.grad_h = start_from("grad_h_n", grad_outputs.h_n, Slot::grad_h);
    if constexpr (Cell::has_c) call.grad_c = start_from("grad_c_n", grad_outputs.c_n, Slot::grad_c);
    if (outputs.output.numel() > 0) {
        const Panels<T> panels =
            plain_panels(inputs.weight_hh.const_data_ptr<T>(), rows, H, 0, Slot::panels);
        Panels<T> input_panels{};
        if (wanted.x) {
            input_panels = plain_panels(inputs.weight_ih.const_data_ptr<T>(), rows, I,
                                        Cell::input_first * H, Slot::input_panels);
        }
        pack_both(panels, input_panels);
        call.panels = panels.memory;
        call.input_panels = input_panels.memory;
        backward_chunks<Cell>(call, inputs, outputs, grad_output, grads, wanted, sizes);
    }
    if (wanted.h0) std::copy_n(call.grad_h, N * H, grads.h0.data_ptr<T>());
    if constexpr (Cell::has_c) {
        if (wanted.c0) std::copy_n(call.grad_c, N * H, grads.c0.data_ptr<T>());
    }
}

// The gradients of the layer, from what run_forward kept in `outputs`.
template <typename Cell>
Gradients run_backward(const Inputs& arguments, const Outputs& kept,
                       const OutputGradients& grad_outputs, const Wanted& wanted,
                       bool relu = false) {
    constexpr const char* name = Cell::backward_name;
    const Inputs inputs = check_inputs<Cell>(name, arguments);
    const Sizes sizes = sizes_of(inputs);
    const Outputs outputs = check_outputs<Cell>(kept, sizes, inputs.x);
    const Tensor grad_output = contiguous_like(name, "grad_output", grad_outputs.output,
                                               outputs.output.sizes(), outputs.output);
    const Gradients grads = make_gradients<Cell>(wanted, sizes, inputs.x);
    AT_DISPATCH_FLOATING_TYPES(inputs.x.scalar_type(), name, [&] {
        backward_sequence<Cell, scalar_t>(inputs, outputs, grad_outputs, grad_output, grads, wanted,
                                          sizes, relu);
    });
    return grads;
}

}  // namespace impl_torch_ext
