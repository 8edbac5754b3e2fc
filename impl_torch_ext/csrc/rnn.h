// The recurrent layers over a run of steps, without a word of torch: one driver for all cells.
//
// T steps, N batch, I input size, H hidden size, G gates of a cell. Arrays are contiguous and
// row-major, and no two arrays of one call overlap unless that is said. Each function does a part
// of the work, so that threads can share a call.
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
struct PlainCell {
    static constexpr const char* forward_name = "rnn_forward";
    static constexpr const char* backward_name = "rnn_backward";
    static constexpr int gates = 1, columns = 1, input_first = 0, state_first = 0;
    static constexpr bool has_c = false, carries = false;
};

struct LstmCell {
    static constexpr const char* forward_name = "lstm_forward";
    static constexpr const char* backward_name = "lstm_backward";
    static constexpr int gates = 4, columns = 4, input_first = 0, state_first = 0;
    static constexpr bool has_c = true, carries = false;
};

// The gates r, z, n of the weights lie in the columns n, r, z, hn, where hn = W_hn h + b_hn: what
// the input feeds (n, r, z) and what the state feeds (r, z, hn) is then one slice each.
struct GruCell {
    static constexpr const char* forward_name = "gru_forward";
    static constexpr const char* backward_name = "gru_backward";
    static constexpr int gates = 3, columns = 4, input_first = 2, state_first = 1;
    static constexpr bool has_c = false, carries = true;
};

template <typename T>
struct SequenceForward {
    std::int64_t steps, batch, input, hidden;
    bool relu;                  // of the plain cell: relu in place of tanh
    bool keep;                  // whether backward will read the gates
    const T* x;                 // (steps, N, I)
    const T* input_panels;      // of weight_ih, transposed, from gate input_first on
    const T* panels;            // of weight_hh, recurrent
    const T* bias;              // (columns H,)
    const T* h_prev;            // (N, H), the state before the first of these steps
    const T* c_prev;            // (N, H) if has_c, may be `cells` where cells_stride is 0
    T* gates;                   // (steps, N, columns H): the gates after their functions on return;
                                // with one column it is `output`
    T* output;                  // (steps, N, H): h on return
    T* cells;                   // c of step t at cells + t * cells_stride, if has_c
    std::int64_t cells_stride;  // N H, or 0 where only the last c is wanted
};

template <typename T>
struct SequenceBackward {
    std::int64_t steps, batch, input, hidden;
    bool relu;              // of the plain cell: relu in place of tanh
    const T* input_panels;  // of weight_ih, plain, from gate input_first on; null where grad_x is
    const T* panels;        // of weight_hh, plain
    const T* h_prev;        // (N, H), the state before the first of these steps
    const T* c_prev;        // (N, H) if has_c
    const T* gates;         // (steps, N, columns H)
    const T* output;        // (steps, N, H)
    const T* cells;         // (steps, N, H) if has_c
    const T* grad_output;   // (steps, N, H) or null
    T* grad_h;              // (N, H): with respect to the last h on entry, to h_prev on return
    T* grad_c;              // (N, H) if has_c: likewise
    T* grad_gates;          // (steps, N, columns H): with respect to what the gates' functions take
    T* grad_x;              // (steps, N, I) or null
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
