#include "checks.h"

namespace impl_torch_ext {

void check_like(const char* name, const char* argument, const Tensor& tensor, at::IntArrayRef shape,
                const Tensor& like) {
    TORCH_CHECK_VALUE(tensor.sizes() == shape, name, ": ", argument, " must have shape ", shape,
                      ", got ", tensor.sizes());
    TORCH_CHECK_TYPE(tensor.scalar_type() == like.scalar_type(), name, ": ", argument,
                     " must have dtype ", like.scalar_type(), ", got ", tensor.scalar_type());
}

Tensor contiguous_like(const char* name, const char* argument, const OptionalTensor& tensor,
                       at::IntArrayRef shape, const Tensor& like) {
    if (!tensor.has_value()) return Tensor();
    check_like(name, argument, *tensor, shape, like);
    return tensor->contiguous();
}

}  // namespace impl_torch_ext
