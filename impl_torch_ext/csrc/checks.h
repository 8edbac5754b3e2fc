// Checks of the Tensors that an operator gets; an error names the operator and the argument.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace impl_torch_ext {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

// Raises ValueError unless `tensor` has this shape, TypeError unless it has the dtype of `like`.
void check_like(const char* name, const char* argument, const Tensor& tensor, at::IntArrayRef shape,
                const Tensor& like);

// The contiguous values of an argument after check_like; undefined where there is none.
Tensor contiguous_like(const char* name, const char* argument, const OptionalTensor& tensor,
                       at::IntArrayRef shape, const Tensor& like);

}  // namespace impl_torch_ext
