// sum (+)= left^T right: see outer.inl.
#define IMPL_KERNELS "outer.inl"
#include "targets.h"

namespace impl_torch_ext {

void outer(const Outer<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(outer_rows<float>, call, first, last)
}
void outer(const Outer<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(outer_rows<double>, call, first, last)
}

}  // namespace impl_torch_ext
