// The sequence kernels, without a word of torch.
//
// T steps, N batch, I input size, H hidden size, G gates (1, 4, 3). Arrays are contiguous and row-major, and no two arrays of one call overlap unless that is said. Each function works on the rows [first, last) of the batch, so that
// threads can share a call without meeting.
//
// The product with weight_hh never leaves the registers before the gates have been applied to it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace impl_torch_ext {

enum class Target { portable, avx2, avx512 };

// The widest instruction set that this machine has and this build knows; IMPL_TORCH_EXT_TARGET=portable or avx2 in the
// environment asks for less.
Target target();

// Bytes in a vector of that set.
int vector_bytes();

// Memory that the calling thread keeps from call to call: fresh pages cost more than what is computed on them. A slot is good
// until the same thread asks for it again.
enum class Slot { panels, input_panels, bias, gates, grad_h, grad_c, left, right, count };
void* workspace_bytes(Slot slot, std::size_t bytes);

template <typename T>
T* workspace(Slot slot, std::int64_t count) {
  return static_cast<T*>(workspace_bytes(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

// The panels in which the kernels want a weight matrix: blocks of neighbouring columns of the right factor, row by row, as wide
// as the sums that a tile keeps in registers. The slot's memory holds them.
//
// recurrent_panels: h W^T for a weight (G H, H). With G > 1 a panel is one vector of units, its G gates side by side; with G = 1 two
// vectors of units.
template <typename T>
const T* recurrent_panels(const T* weight, std::int64_t gates, std::int64_t hidden, Slot slot);

// transposed_panels: z W^T for a weight (rows, columns), panels of two vectors. plain_panels: z W. Both take the rows of the weight in
// cyclic order from row `rotate` on, which for a GRU puts n first.
template <typename T>
const T* transposed_panels(const T* weight, std::int64_t rows, std::int64_t columns, std::int64_t rotate, Slot slot);
template <typename T>
const T* plain_panels(const T* weight, std::int64_t rows, std::int64_t columns, std::int64_t rotate, Slot slot);

template <typename T>
struct RnnForward {
  std::int64_t steps, batch, input, hidden;
  bool relu;
  const T* x;             // (steps, N, I)
  const T* input_panels;  // of weight_ih, transposed
  const T* panels;        // of weight_hh, recurrent
  const T* bias;    // (H,)
  const T* h_prev;  // (N, H), the state before the first of these steps
  T* output;        // (steps, N, H): h on return
};

template <typename T>
struct RnnBackward {
  std::int64_t steps, batch, input, hidden;
  bool relu;
  const T* input_panels;  // of weight_ih, plain; null where grad_x is
  const T* panels;        // of weight_hh, plain
  const T* output;       // (steps, N, H)
  const T* grad_output;  // (steps, N, H) or null
  T* grad_h;             // (N, H): with respect to the last h on entry, to the state before the first step on return
  T* grad_gates;         // (steps, N, H)
  T* grad_x;              // (steps, N, I) or null
};

template <typename T>
struct LstmForward {
  std::int64_t steps, batch, input, hidden;
  const T* x;             // (steps, N, I)
  const T* input_panels;  // of weight_ih, transposed
  const T* panels;        // of weight_hh, recurrent
  const T* bias;          // (4 H,)
  const T* h_prev;        // (N, H)
  const T* c_prev;        // (N, H), may be `cells` where cells_stride is 0
  T* gates;               // (steps, N, 4 H): i, f, g, o after their functions on return
  T* output;              // (steps, N, H)
  T* cells;               // c of step t at cells + t * cells_stride
  std::int64_t cells_stride;  // N H, or 0 where only the last c is wanted
};

template <typename T>
struct LstmBackward {
  std::int64_t steps, batch, input, hidden;
  const T* input_panels;  // of weight_ih, plain; null where grad_x is
  const T* panels;        // of weight_hh, plain
  const T* gates;
  const T* c_prev;       // (N, H), the cell state before the first of these steps
  const T* cells;        // (steps, N, H)
  const T* grad_output;  // (steps, N, H) or null
  T* grad_h;             // (N, H), as in RnnBackward
  T* grad_c;             // (N, H), likewise
  T* grad_gates;         // (steps, N, 4 H)
  T* grad_x;              // (steps, N, I) or null
};

// Gates of a GRU lie in the order n, r, z, hn, where hn = W_hn h + b_hn: those that the input feeds (n, r, z) and those that the
// state feeds (r, z, hn) are then one slice each.
template <typename T>
struct GruForward {
  std::int64_t steps, batch, input, hidden;
  const T* x;             // (steps, N, I)
  const T* input_panels;  // of weight_ih, transposed
  const T* panels;        // of weight_hh, recurrent
  const T* bias;      // (4 H,): b_in, b_ir + b_hr, b_iz + b_hz, b_hn
  const T* h_prev;    // (N, H)
  T* gates;           // (steps, N, 4 H)
  T* output;          // (steps, N, H)
};

template <typename T>
struct GruBackward {
  std::int64_t steps, batch, input, hidden;
  const T* input_panels;  // of weight_ih, plain; null where grad_x is
  const T* panels;        // of weight_hh, plain
  const T* gates;
  const T* h_prev;       // (N, H)
  const T* output;       // (steps, N, H)
  const T* grad_output;  // (steps, N, H) or null
  T* grad_h;             // (N, H), as in RnnBackward
  T* grad_gates;         // (steps, N, 4 H): before n, r, z and hn
  T* grad_x;              // (steps, N, I) or null
};

void rnn_forward(const RnnForward<float>& call, std::int64_t first, std::int64_t last);
void rnn_forward(const RnnForward<double>& call, std::int64_t first, std::int64_t last);
void rnn_backward(const RnnBackward<float>& call, std::int64_t first, std::int64_t last);
void rnn_backward(const RnnBackward<double>& call, std::int64_t first, std::int64_t last);

void lstm_forward(const LstmForward<float>& call, std::int64_t first, std::int64_t last);
void lstm_forward(const LstmForward<double>& call, std::int64_t first, std::int64_t last);
void lstm_backward(const LstmBackward<float>& call, std::int64_t first, std::int64_t last);
void lstm_backward(const LstmBackward<double>& call, std::int64_t first, std::int64_t last);

void gru_forward(const GruForward<float>& call, std::int64_t first, std::int64_t last);
void gru_forward(const GruForward<double>& call, std::int64_t first, std::int64_t last);
void gru_backward(const GruBackward<float>& call, std::int64_t first, std::int64_t last);
void gru_backward(const GruBackward<double>& call, std::int64_t first, std::int64_t last);

// sum (+)= left^T right: the gradient of a weight matrix. Rows [first, last) of the sum are computed.
template <typename T>
struct Outer {
  std::int64_t depth;    // rows of both factors
  std::int64_t columns;  // of the right factor and of the sum
  const T* left;
  std::int64_t left_stride;
  const T* right;
  std::int64_t right_stride;
  T* sum;
  bool add;
};

void outer(const Outer<float>& call, std::int64_t first, std::int64_t last);
void outer(const Outer<double>& call, std::int64_t first, std::int64_t last);

void relu_forward(const float* x, float* y, std::int64_t count);
void relu_forward(const double* x, double* y, std::int64_t count);
void relu_backward(const float* grad, const float* y, float* result, std::int64_t count);
void relu_backward(const double* grad, const double* y, double* result, std::int64_t count);

}  // namespace impl_torch_ext
