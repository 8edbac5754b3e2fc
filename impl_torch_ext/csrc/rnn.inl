// The steps of a recurrent layer, forward and backward, compiled once per instruction set
// (targets.h). T steps, N batch, I input size, H hidden size.
//
// A cell is Equations<Cell>: forward and backward for one vector of units of one sample in one
// step. They read and write through ForwardUnits and BackwardUnits, which know where things lie.

template <typename Cell>
struct Equations;

// The arrays of one step.
template <typename T>
struct Step {
    const T* h_prev;  // (N, H)
    const T* c_prev;  // (N, H), null without c as `cells`
    T* gates;         // (N, columns H)
    T* output;        // (N, H)
    T* cells;         // (N, H)
};

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

// One product for the input of all steps, then the steps from the first to the last.
template <typename Cell, typename T>
static void forward_steps(const SequenceForward<T>& call, const Part& part) {
    using Finish = ForwardFinish<Cell, T>;
    const std::int64_t H = call.hidden;
    product<T, 2>(call.x, call.input, call.input_panels, call.input,
                  part.of(panels_of<T>(Cell::gates * H, 2)),
                  Rows{part.first, part.last, call.steps, call.batch},
                  Store<T>{call.gates, Cell::gates * H, Cell::columns * H, false});
    part.wait();
    const Range units = part.of(panels_of<T>(H, Finish::unit_vectors));
    Step<T> step{call.h_prev, call.c_prev, call.gates, call.output, call.cells};
    for (std::int64_t t = 0; t < call.steps; ++t) {
        product<T, Finish::panel_vectors>(step.h_prev, H, call.panels, H, units,
                                          Rows{part.first, part.last, 1, call.batch},
                                          Finish{call, step});
        part.wait();
        step.h_prev = step.output;
        step.output += call.batch * H;
        step.gates += call.batch * Cell::columns * H;
        if constexpr (Cell::has_c) {
            step.c_prev = step.cells;
            step.cells += call.cells_stride;
        }
    }
}

// What the backward equations of a cell see of `count` units of step t.
template <typename T, bool full>
struct BackwardUnits {
    const SequenceBackward<T>& call;
    const T* h_before;      // these units in the step before
    const T* c_before;      // likewise, null without c
    std::int64_t in_state;  // where the units are in an array (N, H)
    std::int64_t in_steps;  // where they are in an array (steps, N, H)
    std::int64_t in_gates;  // where column 0 of them is in an array (steps, N, columns H)
    int count;

    IMPL_INLINE_MEMBER Vector<T> gate(int column) const {
        return load<T, full>(call.gates + in_gates + column * call.hidden, count);
    }
    IMPL_INLINE_MEMBER Vector<T> h() const { return load<T, full>(call.output + in_steps, count); }
    IMPL_INLINE_MEMBER Vector<T> c() const { return load<T, full>(call.cells + in_steps, count); }
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
};

// Takes the gradient of h that comes from later steps through the gates of step t.
template <typename Cell, bool full, typename T>
IMPL_INLINE void backward_units(const SequenceBackward<T>& call, std::int64_t t, std::int64_t row,
                                std::int64_t unit, int count, Vector<T> grad_h) {
    const std::int64_t H = call.hidden, in_state = row * H + unit;
    const std::int64_t in_steps = t * call.batch * H + in_state;
    const std::int64_t in_gates = (t * call.batch + row) * Cell::columns * H + unit;
    if (call.grad_output != nullptr) grad_h += load<T, full>(call.grad_output + in_steps, count);
    // Chosen before the equations: a branch between their products and sums would keep the compiler
    // from fusing them.
    const std::int64_t in_before = in_steps - call.batch * H;
    const T* h_before = t == 0 ? call.h_prev + in_state : call.output + in_before;
    const T* c_before = nullptr;
    if constexpr (Cell::has_c) c_before = t == 0 ? call.c_prev + in_state : call.cells + in_before;
    Equations<Cell>::template backward<T, full>(
        BackwardUnits<T, full>{call, h_before, c_before, in_state, in_steps, in_gates, count},
        grad_h);
}

// The part of a backward step that follows the product grad_gates W_hh: the gradient of the h of
// the step before is whole then, and goes on through that step's gates while it is in registers.
template <typename Cell, typename T>
struct BackwardFinish {
    const SequenceBackward<T>& call;
    std::int64_t t;  // the step before; -1 at the end, where the gradient of h itself is wanted

    struct Block {
        const BackwardFinish& finish;
        std::int64_t row;
        int rows;

        template <bool full>
        IMPL_INLINE_MEMBER void apply(std::int64_t unit, int count, const T* sums) const {
            const SequenceBackward<T>& call = finish.call;
            for (int m = 0; m < rows; ++m) {
                T* grad_h = call.grad_h + (row + m) * call.hidden + unit;
                Vector<T> sum = load<T, true>(sums + m * 2 * Simd<T>::lanes, count);
                if constexpr (Cell::carries) sum += load<T, full>(grad_h, count);
                if (finish.t >= 0) {
                    backward_units<Cell, full>(call, finish.t, row + m, unit, count, sum);
                } else {
                    store<T, full>(grad_h, sum, count);
                }
            }
        }
    };

    void operator()(std::int64_t panel, std::int64_t row, int rows, const T* sums) const {
        for_units<T, 2>(panel, call.hidden, sums, Block{*this, row, rows});
    }
};

// The gates of the last step, whose gradient of h is given and no product of a later step.
template <typename Cell, typename T>
static void backward_last_step(const SequenceBackward<T>& call, Range rows, Range units) {
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
        for (std::int64_t unit = units.first; unit < units.last; unit += Simd<T>::lanes) {
            const int count = lanes_left<T>(unit, call.hidden);
            const T* grad_h = call.grad_h + row * call.hidden + unit;
            const std::int64_t t = call.steps - 1;
            if (count == Simd<T>::lanes) {
                backward_units<Cell, true>(call, t, row, unit, count, load<T, true>(grad_h, count));
            } else {
                backward_units<Cell, false>(call, t, row, unit, count,
                                            load<T, false>(grad_h, count));
            }
        }
    }
}

// The steps from the last to the first, then one product for the gradient of the input of all.
template <typename Cell, typename T>
static void backward_steps(const SequenceBackward<T>& call, const Part& part) {
    const std::int64_t H = call.hidden, depth = Cell::gates * H, stride = Cell::columns * H;
    const std::int64_t width = 2 * Simd<T>::lanes;
    const Range panels = part.of(panels_of<T>(H, 2));
    const std::int64_t stop = panels.last * width < H ? panels.last * width : H;
    backward_last_step<Cell>(call, {part.first, part.last}, {panels.first * width, stop});
    part.wait();
    for (std::int64_t t = call.steps - 1; t >= 0; --t) {
        const T* grad_gates = call.grad_gates + t * call.batch * stride + Cell::state_first * H;
        product<T, 2>(grad_gates, stride, call.panels, depth, panels,
                      Rows{part.first, part.last, 1, call.batch},
                      BackwardFinish<Cell, T>{call, t - 1});
        part.wait();
    }
    if (call.grad_x == nullptr) return;
    product<T, 2>(call.grad_gates, stride, call.input_panels, depth,
                  part.of(panels_of<T>(call.input, 2)),
                  Rows{part.first, part.last, call.steps, call.batch},
                  Store<T>{call.grad_x, call.input, call.input, false});
}

#include "rnn_gru.inl"
#include "rnn_lstm.inl"
#include "rnn_plain.inl"
