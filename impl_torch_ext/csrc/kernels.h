// What the kernels are built on, without a word of torch: the instruction set, the memory of a
// thread, weights in the order that the products want, and the kernels of no layer in particular.
#pragma once

#include <cstddef>
#include <cstdint>

namespace impl_torch_ext {

enum class Target { portable, avx2, avx512 };

// The widest instruction set that this machine has and this build knows;
// IMPL_TORCH_EXT_TARGET=portable or avx2 in the environment asks for less.
Target target();

// Bytes in a vector of that set.
int vector_bytes();

// Memory that the calling thread keeps from call to call: fresh pages cost more than what is
// computed on them. A slot is good until the same thread asks for it again.
enum class Slot { panels, input_panels, bias, gates, grad_h, grad_c, left, right, count };
void* workspace_bytes(Slot slot, std::size_t bytes);

template <typename T>
T* workspace(Slot slot, std::int64_t count) {
    return static_cast<T*>(workspace_bytes(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

// The panels in which the kernels want a weight matrix: blocks of neighbouring columns of the right
// factor, row by row, as wide as the sums that a tile keeps in registers. The slot's memory holds
// them.
//
// recurrent_panels: h W^T for a weight (G H, H). With G > 1 a panel is one vector of units, its G
// gates side by side; with G = 1 two vectors of units.
template <typename T>
const T* recurrent_panels(const T* weight, std::int64_t gates, std::int64_t hidden, Slot slot);

// transposed_panels: z W^T for a weight (rows, columns), panels of two vectors. plain_panels: z W.
// Both take the rows of the weight in cyclic order from row `rotate` on.
template <typename T>
const T* transposed_panels(const T* weight, std::int64_t rows, std::int64_t columns,
                           std::int64_t rotate, Slot slot);
template <typename T>
const T* plain_panels(const T* weight, std::int64_t rows, std::int64_t columns, std::int64_t rotate,
                      Slot slot);

// sum (+)= left^T right: the gradient of a weight matrix. Rows [first, last) of the sum are
// computed, so that threads can share a call without meeting.
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

template <typename T>
void outer(const Outer<T>& call, std::int64_t first, std::int64_t last);

// relu and its gradient from its output; a NaN passes through both.
template <typename T>
void relu_forward(const T* x, T* y, std::int64_t count);
template <typename T>
void relu_backward(const T* grad, const T* y, T* result, std::int64_t count);

}  // namespace impl_torch_ext
