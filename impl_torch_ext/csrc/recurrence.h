// h_t = a_t h_(t-1) + b_t along an axis, as operators on Tensors.
#pragma once

#include <array>
#include <tuple>

#include "checks.h"

namespace impl_torch_ext {

// a and b have one shape, h0 that shape without `axis`; without h0 the first h is b alone.
Tensor linear_recurrence(const Tensor& a, const Tensor& b, const OptionalTensor& h0,
                         std::int64_t axis, bool reverse);

// The gradients of a, b and h0 from the output; those that are not wanted are empty.
std::tuple<Tensor, Tensor, Tensor> linear_recurrence_backward(const Tensor& grad_output,
                                                              const Tensor& a, const Tensor& output,
                                                              const OptionalTensor& h0,
                                                              std::int64_t axis, bool reverse,
                                                              std::array<bool, 3> wanted);

}  // namespace impl_torch_ext
