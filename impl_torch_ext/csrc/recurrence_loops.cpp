// Loops of linear_recurrence: see recurrence_loops.inl.
#define IMPL_KERNELS "recurrence_loops.inl"
#include "recurrence_loops.h"

#include "targets.h"

namespace impl_torch_ext {

template <typename T>
void linear_forward(const LinearForward<T>& call, std::int64_t first, std::int64_t last) {
    IMPL_DISPATCH(linear_forward, call, first, last)
}

template <typename T>
void linear_backward(const LinearBackward<T>& call, std::int64_t first, std::int64_t last) {
    IMPL_DISPATCH(linear_backward, call, first, last)
}

template void linear_forward(const LinearForward<float>&, std::int64_t, std::int64_t);
template void linear_forward(const LinearForward<double>&, std::int64_t, std::int64_t);
template void linear_backward(const LinearBackward<float>&, std::int64_t, std::int64_t);
template void linear_backward(const LinearBackward<double>&, std::int64_t, std::int64_t);

}  // namespace impl_torch_ext
