// Elements at integer indices along one axis. Where an index repeats, torch adds the gradients up
// one after another, or in an order that depends on the threads; here they are added by pairs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace impl_torch_ext {

using at::Tensor;

// x[:, ..., index], with `axis` whole axes before it; negative indices count from the end.
Tensor gather(const Tensor& x, const Tensor& index, std::int64_t axis);
Tensor gather_recorded(const Tensor& x, const Tensor& index, std::int64_t axis);

// The gradient of gather: the sums of the slices of `grad` that go to each of the `size` places
// along `axis`.
Tensor gather_backward(const Tensor& grad, const Tensor& index, std::int64_t axis,
                       std::int64_t size);
Tensor gather_backward_recorded(const Tensor& grad, const Tensor& index, std::int64_t axis,
                                std::int64_t size);

}  // namespace impl_torch_ext
