// Functions that choose among elements. What is not chosen gets a gradient of 0, whatever arrives,
// where torch multiplies by 0; and of a NaN they say what the specification does (ops-26, ops-27).
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace impl_torch_ext {

using at::Tensor;

// |x|; the gradient is 0 at 0 and NaN at NaN.
Tensor absolute(const Tensor& x);
Tensor absolute_recorded(const Tensor& x);

// x, or the bound that it lies beyond; the gradient passes at NaN and where low <= x <= high.
Tensor clamp(const Tensor& x, std::optional<double> low, std::optional<double> high);
Tensor clamp_recorded(const Tensor& x, std::optional<double> low, std::optional<double> high);

// The larger or smaller of two, which broadcast; equal ones share the gradient, and so do two NaN.
Tensor extremum(const Tensor& x1, const Tensor& x2, bool largest);
Tensor extremum_recorded(const Tensor& x1, const Tensor& x2, bool largest);

// The largest or smallest over axes; equal ones share the gradient, and so do all NaN.
Tensor extreme(const Tensor& x, at::IntArrayRef axes, bool keepdim, bool largest);
Tensor extreme_recorded(const Tensor& x, at::IntArrayRef axes, bool keepdim, bool largest);

}  // namespace impl_torch_ext
