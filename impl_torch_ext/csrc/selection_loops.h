// The loops of selection.cpp over contiguous arrays, without torch.
#pragma once

#include <cstdint>

namespace impl_torch_ext {

// The gradient of |x|, 0 at 0 and NaN at NaN.
template <typename T>
void absolute_loop(const T* grad, const T* x, T* result, std::int64_t count);

// The gradient where low <= x <= high and at NaN, else 0.
template <typename T>
void clamp_loop(const T* grad, const T* x, T low, T high, T* result, std::int64_t count);

// The part of the gradient that goes to `mine`; equal numbers share it, and so do two NaN.
template <typename T>
void extremum_loop(const T* grad, const T* mine, const T* other, bool largest, T* result,
                   std::int64_t count);

// x (n, inner) and its extremes (inner), each of whose gradients is shared by those that equal it.
// `numbers` and `shares` are room for `inner` elements each.
template <typename T>
void extreme_loop(const T* grad, const T* x, const T* extreme, T* result, std::int64_t n,
                  std::int64_t inner, std::int64_t* numbers, T* shares);

}  // namespace impl_torch_ext
