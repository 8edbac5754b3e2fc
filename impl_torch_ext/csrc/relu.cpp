// relu and its gradient; a NaN passes through both.
#include "rnn.h"

namespace impl_torch_ext {

namespace {

template <typename T>
void forward(const T* x, T* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] <= T(0) ? T(0) : x[i];
}

template <typename T>
void backward(const T* grad, const T* y, T* result, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) result[i] = y[i] <= T(0) ? T(0) : grad[i];
}

}  // namespace

void relu_forward(const float* x, float* y, std::int64_t count) { forward(x, y, count); }
void relu_forward(const double* x, double* y, std::int64_t count) { forward(x, y, count); }

void relu_backward(const float* grad, const float* y, float* result, std::int64_t count) {
  backward(grad, y, result, count);
}
void relu_backward(const double* grad, const double* y, double* result, std::int64_t count) {
  backward(grad, y, result, count);
}

}  // namespace impl_torch_ext
