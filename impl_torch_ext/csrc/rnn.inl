// The steps of a recurrent layer, forward and backward, compiled once per instruction set
// (targets.h). T steps, N batch, I input size, H hidden size, P size of a state h.
//
// A cell is Equations<Cell>: forward and backward for one vector of units of one sample in one
// step. They read and write through ForwardUnits and BackwardUnits, which know where things lie.

template <typename Cell>
struct Equations;

// The arrays of one step.
template <typename T>
struct Step {
    const T* h_prev;  // (N, P)
    const T* c_prev;  // (N, H), null without c as `cells`
    T* gates;         // (N, columns H)
    T* output;        // (N, H): what the gates make, h without a projection
    T* cells;         // (N, H)
};

// Step t as the samples see it that go on from the step before, or those that start there.
template <typename Cell, typename T>
IMPL_INLINE Step<T> forward_step(const SequenceForward<T>& call, std::int64_t t, bool fresh) {
    const std::int64_t H = call.hidden, start = call.steps.start(t);
    const std::int64_t before = fresh ? 0 : call.steps.start(call.steps.before(t));
    Step<T> step{};
    step.h_prev = fresh ? call.h0 : call.output + before * call.state;
    step.gates = call.gates + start * Cell::columns * H;
    step.output = (Cell::projected ? call.inner : call.output) + start * H;
    if constexpr (Cell::has_c) {
        step.c_prev = fresh ? call.c0 : call.cells + before * call.cells_stride;
        step.cells = call.cells + start * call.cells_stride;
    }
    return step;
}

// What the forward equations of a cell see of `count` units. With `full` they fill a vector.
template <typename T, bool full>
struct ForwardUnits {
    const SequenceForward<T>& call;
    const Step<T>& step;
    const T* sums;            // W_hh h, a vector per gate of weight_hh
    const Vector<T>* biases;  // a vector per column
    std::int64_t hidden;
    std::int64_t in_state;  // where the units are in an array (N, H)
    std::int64_t in_gates;  // where column 0 of them is in an array (N, columns H)
    int count;

    // W_hh h of a gate.
    IMPL_INLINE_MEMBER Vector<T> state(int gate) const {
        return load<T, true>(sums + gate * Simd<T>::lanes, count);
    }
    // W_ih x of a column.
    IMPL_INLINE_MEMBER Vector<T> input(int column) const {
        return load<T, full>(step.gates + in_gates + column * hidden, count);
    }
    IMPL_INLINE_MEMBER Vector<T> bias(int column) const { return biases[column]; }
    IMPL_INLINE_MEMBER Vector<T> h_prev() const {
        return load<T, full>(step.h_prev + in_state, count);
    }
    IMPL_INLINE_MEMBER Vector<T> c_prev() const {
        return load<T, full>(step.c_prev + in_state, count);
    }
    // What backward reads. Call after everything else: across a branch the compiler fuses no
    // product with a sum.
    IMPL_INLINE_MEMBER void keep(int column, Vector<T> gate) const {
        if (call.keep) store<T, full>(step.gates + in_gates + column * hidden, gate, count);
    }
    IMPL_INLINE_MEMBER void set_h(Vector<T> h) const {
        store<T, full>(step.output + in_state, h, count);
    }
    IMPL_INLINE_MEMBER void set_c(Vector<T> c) const {
        store<T, full>(step.cells + in_state, c, count);
    }
};

// The part of a forward step that follows the product h W_hh^T, while it is still in registers.
template <typename Cell, typename T>
struct ForwardFinish {
    // Panels of weight_hh, as recurrent_panels makes them: vectors in a panel, and of one gate.
    static constexpr int panel_vectors = Cell::gates == 1 ? 2 : Cell::gates;
    static constexpr int unit_vectors = panel_vectors / Cell::gates;

    const SequenceForward<T>& call;
    const Step<T>& step;

    struct Block {
        const ForwardFinish& finish;
        std::int64_t row;
        int rows;

        template <bool full>
        IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
            const std::int64_t H = finish.call.hidden;
            Vector<T> biases[Cell::columns];
#pragma GCC unroll 8
            for (int k = 0; k < Cell::columns; ++k) {
                biases[k] = load<T, full>(finish.call.bias + k * H + unit, count);
            }
            for (int m = 0; m < rows; ++m) {
                const T* row_sums = sums + m * panel_vectors * Simd<T>::lanes;
                Equations<Cell>::template forward<T, full>(ForwardUnits<T, full>{
                    finish.call, finish.step, row_sums, biases, H, (row + m) * H + unit,
                    (row + m) * Cell::columns * H + unit, count});
            }
        }
    };

    void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
        for_units<T, unit_vectors>(panel, call.hidden, sums, Block{*this, row, rows});
    }
};

// One product for the input of all steps, then the steps in the order in which they are computed.
template <typename Cell, typename T>
static void forward_steps(const SequenceForward<T>& call, const Part& part) {
    using Finish = ForwardFinish<Cell, T>;
    const Steps& steps = call.steps;
    const std::int64_t H = call.hidden, P = call.state;
    product<T, 2>(call.x, call.input, call.input_panels, call.input,
                  part.of(panels_of<T>(Cell::gates * H, 2)), Range{part.first, part.last}, steps,
                  Store<T>{call.gates, Cell::gates * H, Cell::columns * H, false});
    part.wait();
    const Range units = part.of(panels_of<T>(H, Finish::unit_vectors));
    for (std::int64_t i = 0; i < steps.count; ++i) {
        const std::int64_t t = steps.number(i), running = steps.running(t), rows = steps.rows(t);
        const std::int64_t last = part.last < rows ? part.last : rows;
        for (std::int64_t row = part.first; row < last;) {
            const bool fresh = row >= running;
            const std::int64_t stop = fresh || last < running ? last : running;
            const Step<T> step = forward_step<Cell>(call, t, fresh);
            product<T, Finish::panel_vectors>(step.h_prev, P, call.panels, P, units,
                                              Range{row, stop}, one_step(stop), Finish{call, step});
            row = stop;
        }
        part.wait();
        if constexpr (Cell::projected) {
            const std::int64_t start = steps.start(t);
            product<T, 2>(call.inner + start * H, H, call.projection_panels, H,
                          part.of(panels_of<T>(P, 2)), Range{part.first, last}, one_step(rows),
                          Store<T>{call.output + start * P, P, P, false});
            part.wait();
        }
    }
}

// Where one step lies on the way back.
template <typename T>
struct StepBack {
    std::int64_t start;    // its first row in an array (rows, ...)
    std::int64_t rows;     // the samples that have it
    std::int64_t running;  // those of them that go on from the step before
    const T* h_prev;       // (N, P), the step before
    const T* c_prev;       // (N, H), likewise
};

template <typename Cell, typename T>
IMPL_INLINE StepBack<T> backward_step(const SequenceBackward<T>& call, std::int64_t t) {
    const std::int64_t running = call.steps.running(t);
    const std::int64_t before = running == 0 ? 0 : call.steps.start(call.steps.before(t));
    StepBack<T> step{call.steps.start(t), call.steps.rows(t), running,
                     call.output + before * call.state, nullptr};
    if constexpr (Cell::has_c) step.c_prev = call.cells + before * call.hidden;
    return step;
}

// What the backward equations of a cell see of `count` units of a step.
template <typename Cell, typename T, bool full>
struct BackwardUnits {
    const SequenceBackward<T>& call;
    const T* h_before;      // these units in the step before, null with a projection
    const T* c_before;      // likewise, null without c
    std::int64_t in_state;  // where the units are in an array (N, H)
    std::int64_t in_rows;   // where they are in an array (rows, H)
    std::int64_t in_gates;  // where column 0 of them is in an array (rows, columns H)
    int count;

    IMPL_INLINE_MEMBER Vector<T> gate(int column) const {
        return load<T, full>(call.gates + in_gates + column * call.hidden, count);
    }
    IMPL_INLINE_MEMBER Vector<T> h() const { return load<T, full>(call.output + in_rows, count); }
    IMPL_INLINE_MEMBER Vector<T> c() const { return load<T, full>(call.cells + in_rows, count); }
    IMPL_INLINE_MEMBER Vector<T> h_prev() const { return load<T, full>(h_before, count); }
    IMPL_INLINE_MEMBER Vector<T> c_prev() const { return load<T, full>(c_before, count); }
    // With respect to c, from the steps after this one.
    IMPL_INLINE_MEMBER Vector<T> grad_c() const {
        return load<T, full>(call.grad_c + in_state, count);
    }
    IMPL_INLINE_MEMBER void set_grad_gate(int column, Vector<T> grad) const {
        store<T, full>(call.grad_gates + in_gates + column * call.hidden, grad, count);
    }
    IMPL_INLINE_MEMBER void set_grad_c_prev(Vector<T> grad) const {
        store<T, full>(call.grad_c + in_state, grad, count);
    }
    // The share of the gradient of h that goes past the gates, of a cell that `carries`.
    IMPL_INLINE_MEMBER void carry(Vector<T> grad) const {
        store<T, full>(call.grad_h + in_state, grad, count);
    }
    // What the gates had made of this step, where a projection follows.
    IMPL_INLINE_MEMBER void set_inner(Vector<T> inner) const {
        if constexpr (Cell::projected) store<T, full>(call.inner + in_rows, inner, count);
    }
};

// Takes the gradient of what the gates of a step made through them.
template <typename Cell, bool full, typename T>
IMPL_INLINE void backward_gates(const SequenceBackward<T>& call, const StepBack<T>& step,
                                std::int64_t row, std::int64_t unit, int count, Vector<T> grad) {
    const std::int64_t H = call.hidden, in_state = row * H + unit;
    const std::int64_t in_rows = step.start * H + in_state;
    const std::int64_t in_gates = (step.start + row) * Cell::columns * H + unit;
    // Chosen before the equations: a branch between their products and sums would keep the compiler
    // from fusing them.
    const bool fresh = row >= step.running;
    const T *h_before = nullptr, *c_before = nullptr;
    if constexpr (!Cell::projected) h_before = (fresh ? call.h0 : step.h_prev) + in_state;
    if constexpr (Cell::has_c) {
        c_before = (fresh ? call.c0 : step.c_prev) + in_state;
        if (call.grad_cells != nullptr) {
            T* const grad_c = call.grad_c + in_state;
            const Vector<T> arrived = load<T, full>(call.grad_cells + in_rows, count);
            store<T, full>(grad_c, load<T, full>(grad_c, count) + arrived, count);
        }
    }
    Equations<Cell>::template backward<T, full>(
        BackwardUnits<Cell, T, full>{call, h_before, c_before, in_state, in_rows, in_gates, count},
        grad);
}

// Takes in the gradient of the h of a step that comes from later steps.
template <typename Cell, bool full, typename T>
IMPL_INLINE void backward_state(const SequenceBackward<T>& call, const StepBack<T>& step,
                                std::int64_t row, std::int64_t unit, int count, Vector<T> grad_h) {
    const std::int64_t in_rows = (step.start + row) * call.state + unit;
    if (call.grad_output != nullptr) grad_h += load<T, full>(call.grad_output + in_rows, count);
    if constexpr (Cell::projected) {
        store<T, full>(call.grad_states + in_rows, grad_h, count);
    } else {
        backward_gates<Cell, full>(call, step, row, unit, count, grad_h);
    }
}

// The part of a backward step that follows the product grad_gates W_hh: the gradient of the h of
// the step before is whole then, and goes on through that step's gates while it is in registers.
template <typename Cell, typename T>
struct BackwardFinish {
    const SequenceBackward<T>& call;
    StepBack<T> before;
    std::int64_t
        going;  // the samples that go on there; of the others the gradient is wanted itself

    struct Block {
        const BackwardFinish& finish;
        std::int64_t row;
        int rows;

        template <bool full>
        IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
            const SequenceBackward<T>& call = finish.call;
            for (int m = 0; m < rows; ++m) {
                T* grad_h = call.grad_h + (row + m) * call.state + unit;
                Vector<T> sum = load<T, true>(sums + m * 2 * Simd<T>::lanes, count);
                if constexpr (Cell::carries) sum += load<T, full>(grad_h, count);
                if (row + m < finish.going) {
                    backward_state<Cell, full>(call, finish.before, row + m, unit, count, sum);
                } else {
                    store<T, full>(grad_h, sum, count);
                }
            }
        }
    };

    void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
        for_units<T, 2>(panel, call.state, sums, Block{*this, row, rows});
    }
};

// The part of a backward step that follows the product grad_states W_hr.
template <typename Cell, typename T>
struct ProjectionFinish {
    const SequenceBackward<T>& call;
    StepBack<T> step;

    struct Block {
        const ProjectionFinish& finish;
        std::int64_t row;
        int rows;

        template <bool full>
        IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
            for (int m = 0; m < rows; ++m) {
                const Vector<T> sum = load<T, true>(sums + m * 2 * Simd<T>::lanes, count);
                backward_gates<Cell, full>(finish.call, finish.step, row + m, unit, count, sum);
            }
        }
    };

    void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
        for_units<T, 2>(panel, call.hidden, sums, Block{*this, row, rows});
    }
};

// The samples of a step whose gradient of h is given, and no product of a later step.
template <typename Cell, typename T>
static void backward_last(const SequenceBackward<T>& call, const StepBack<T>& step, Range rows,
                          Range units) {
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
        for (std::int64_t unit = units.first; unit < units.last; unit += Simd<T>::lanes) {
            const int count = lanes_left<T>(unit, call.state);
            const T* grad_h = call.grad_h + row * call.state + unit;
            if (count == Simd<T>::lanes) {
                backward_state<Cell, true>(call, step, row, unit, count,
                                           load<T, true>(grad_h, count));
            } else {
                backward_state<Cell, false>(call, step, row, unit, count,
                                            load<T, false>(grad_h, count));
            }
        }
    }
}

// The steps against the order in which they were computed, then one product for the gradient of the
// input of all.
template <typename Cell, typename T>
static void backward_steps(const SequenceBackward<T>& call, const Part& part) {
    const Steps& steps = call.steps;
    const std::int64_t H = call.hidden, P = call.state, width = 2 * Simd<T>::lanes;
    const std::int64_t depth = Cell::gates * H, stride = Cell::columns * H;
    const Range panels = part.of(panels_of<T>(P, 2));
    const Range units{panels.first * width, panels.last * width < P ? panels.last * width : P};
    const auto mine = [&](std::int64_t rows) { return part.last < rows ? part.last : rows; };
    StepBack<T> step = backward_step<Cell>(call, steps.number(steps.count - 1));
    backward_last<Cell>(call, step, {part.first, mine(step.rows)}, units);
    part.wait();
    for (std::int64_t i = steps.count - 1; i >= 0; --i) {
        const Range rows{part.first, mine(step.rows)};
        const Steps all = one_step(step.rows);
        if constexpr (Cell::projected) {
            product<T, 2>(call.grad_states + step.start * P, P, call.projection_panels, P,
                          part.of(panels_of<T>(H, 2)), rows, all,
                          ProjectionFinish<Cell, T>{call, step});
            part.wait();
        }
        const T* grad_gates = call.grad_gates + step.start * stride + Cell::state_first * H;
        const StepBack<T> before =
            i > 0 ? backward_step<Cell>(call, steps.number(i - 1)) : StepBack<T>{};
        product<T, 2>(grad_gates, stride, call.panels, depth, panels, rows, all,
                      BackwardFinish<Cell, T>{call, before, i > 0 ? step.running : 0});
        // Samples whose last step is the one before.
        const std::int64_t first = part.first < step.rows ? step.rows : part.first;
        if (i > 0) backward_last<Cell>(call, before, {first, mine(before.rows)}, units);
        part.wait();
        step = before;
    }
    if (call.grad_x == nullptr) return;
    product<T, 2>(call.grad_gates, stride, call.input_panels, depth,
                  part.of(panels_of<T>(call.input, 2)), Range{part.first, part.last}, steps,
                  Store<T>{call.grad_x, call.input, call.input, false});
}

#include "rnn_gru.inl"
#include "rnn_lstm.inl"
#include "rnn_plain.inl"
