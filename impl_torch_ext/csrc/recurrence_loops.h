// The loops of recurrence.cpp over contiguous arrays (outer, steps, inner), without torch.
#pragma once

#include <cstdint>

namespace impl_torch_ext {

// Lane l of outer * inner is the recurrence at l / inner and l % inner: none reads another.
struct Lanes {
    std::int64_t steps, inner;
    bool reverse;  // whether the steps are computed from the last one to the first
};

template <typename T>
struct LinearForward {
    Lanes lanes;
    const T *a, *b;
    const T* h0;  // (outer, inner) or null
    T* h;
};

template <typename T>
struct LinearBackward {
    Lanes lanes;
    const T *grad, *a, *h;
    const T* h0;         // (outer, inner) or null
    T *grad_a, *grad_b;  // each may be null
    T* grad_h0;          // (outer, inner) or null
};

// Each computes the lanes [first, last).
template <typename T>
void linear_forward(const LinearForward<T>& call, std::int64_t first, std::int64_t last);
template <typename T>
void linear_backward(const LinearBackward<T>& call, std::int64_t first, std::int64_t last);

}  // namespace impl_torch_ext
