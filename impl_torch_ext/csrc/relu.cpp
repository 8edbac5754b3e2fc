// relu and its gradient, written so that a NaN passes through both.
#include "kernels.h"

namespace impl_torch_ext {

template <typename T>
void relu_forward(const T* x, T* y, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] <= T(0) ? T(0) : x[i];
}

template <typename T>
void relu_backward(const T* grad, const T* y, T* result, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) result[i] = y[i] <= T(0) ? T(0) : grad[i];
}

template void relu_forward(const float*, float*, std::int64_t);
template void relu_forward(const double*, double*, std::int64_t);
template void relu_backward(const float*, const float*, float*, std::int64_t);
template void relu_backward(const double*, const double*, double*, std::int64_t);

}  // namespace impl_torch_ext
