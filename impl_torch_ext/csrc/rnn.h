// The recurrent layers over a run of steps, without a word of torch: one driver for all cells.
//
// T steps, N batch, I input size, H hidden size, P size of a state h (H without a projection), G
// gates of a cell. Arrays are contiguous and row-major, and no two arrays of one call overlap
// unless that is said. Each function does a part of the work, so that threads can share a call.
//
// The product with weight_hh never leaves the registers before the gates have been applied to it.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace impl_torch_ext {

// The cells: the constants by which the drivers tell them apart. The equations stand in
// rnn_plain.inl, rnn_lstm.inl and rnn_gru.inl.
//
// gates        G: weight_ih and weight_hh have G H rows, gate after gate
// columns      what is kept of a unit in a step: `gates` and `grad_gates` are (T, N, columns H).
//              A cell with one column keeps its output and nothing else.
// input_first  the gate of weight_ih that feeds column 0; its other gates follow in cyclic order
// state_first  the column that the first gate of weight_hh feeds; its other gates follow
// has_c        whether the state is (h, c)
// carries      whether a share of the gradient of h goes past the gates to the h before
// projected    whether h is W_hr times what the gates make
struct PlainCell {
    static constexpr const char* forward_name = "rnn_forward";
    static constexpr const char* backward_name = "rnn_backward";
    static constexpr int gates = 1, columns = 1, input_first = 0, state_first = 0;
    static constexpr bool has_c = false, carries = false, projected = false;
};

struct LstmCell {
    static constexpr const char* forward_name = "lstm_forward";
    static constexpr const char* backward_name = "lstm_backward";
    static constexpr int gates = 4, columns = 4, input_first = 0, state_first = 0;
    static constexpr bool has_c = true, carries = false, projected = false;
};

struct ProjectedLstmCell : LstmCell {
    static constexpr const char* forward_name = "projected_lstm_forward";
    static constexpr const char* backward_name = "projected_lstm_backward";
    static constexpr bool projected = true;
};

// The gates r, z, n of the weights lie in the columns n, r, z, hn, where hn = W_hn h + b_hn: what
// the input feeds (n, r, z) and what the state feeds (r, z, hn) is then one slice each.
struct GruCell {
    static constexpr const char* forward_name = "gru_forward";
    static constexpr const char* backward_name = "gru_backward";
    static constexpr int gates = 3, columns = 4, input_first = 2, state_first = 1;
    static constexpr bool has_c = false, carries = true, projected = false;
};

// Arrays of `rows` have a row for each row of `steps`.
template <typename T>
struct SequenceForward {
    Steps steps;
    std::int64_t input, hidden, state;  // I, H, P
    bool relu;                          // of the plain cell: relu in place of tanh
    bool keep;                          // whether backward will read the gates
    const T* x;                         // (rows, I)
    const T* input_panels;              // of weight_ih, transposed, from gate input_first on
    const T* panels;                    // of weight_hh, recurrent
    const T* projection_panels;         // of weight_hr, transposed, if projected
    const T* bias;                      // (columns H,)
    const T* h0;                        // (N, P), the first states
    const T* c0;                        // (N, H) if has_c, may be `cells` where cells_stride is 0
    T* gates;                           // (rows, columns H): the gates after their functions on
                                        // return; with one column it is `output`
    T* output;                          // (rows, P): h on return; rows of the step before are read
    T* inner;                           // (rows, H) if projected: what weight_hr multiplies
    T* cells;                           // c of row r at cells + r * cells_stride, if has_c
    std::int64_t cells_stride;          // H; or 0 where only the last c is wanted, (N, H)
};

template <typename T>
struct SequenceBackward {
    Steps steps;
    std::int64_t input, hidden, state;  // I, H, P
    bool relu;                          // of the plain cell: relu in place of tanh
    const T* input_panels;  // of weight_ih, plain, from gate input_first on; null where grad_x is
    const T* panels;        // of weight_hh, plain
    const T* projection_panels;  // of weight_hr, plain, if projected
    const T* h0;                 // (N, P), the first states
    const T* c0;                 // (N, H) if has_c
    const T* gates;              // (rows, columns H)
    const T* output;             // (rows, P); rows of the step before are read
    const T* cells;              // (rows, H) if has_c; likewise
    const T* grad_output;        // (rows, P) or null
    const T* grad_cells;         // (rows, H) or null: with respect to every c, if has_c
    T* grad_h;       // (N, P): with respect to each sample's last h on entry, to that before these
                     // steps on return
    T* grad_c;       // (N, H) if has_c: likewise
    T* grad_gates;   // (rows, columns H): with respect to what the gates' functions take
    T* grad_states;  // (rows, P) if projected: with respect to h
    T* inner;        // (rows, H) if projected: what weight_hr multiplied, on return
    T* grad_x;       // (rows, I) or null
};

// What one thread does of a call: the samples [first, last), which it shares with no other thread
// or with `parts` that have different hidden units and wait for each other after each step.
struct Part {
    std::int64_t first, last;
    int index, parts;
    Barrier* barrier;  // null where parts is 1

    Range of(std::int64_t panels) const { return part_of(panels, index, parts); }
    void wait() const {
        if (parts > 1) barrier->wait(parts);
    }
};

template <typename Cell, typename T>
void sequence_forward(const SequenceForward<T>& call, const Part& part);
template <typename Cell, typename T>
void sequence_backward(const SequenceBackward<T>& call, const Part& part);

}  // namespace impl_torch_ext
