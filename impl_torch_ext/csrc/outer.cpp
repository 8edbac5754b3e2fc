// Sums of outer products: see outer.inl.
#define IMPL_KERNELS "outer.inl"
#include "targets.h"

namespace impl_torch_ext {

template <typename T>
std::int64_t outer_tiles(const Outer<T>& call) {
    IMPL_DISPATCH(count_tiles, call)
}

template <typename T>
void outer(const Outer<T>& call, std::int64_t first, std::int64_t last) {
    IMPL_DISPATCH(outer_tiles, call, first, last)
}

template std::int64_t outer_tiles(const Outer<float>&);
template std::int64_t outer_tiles(const Outer<double>&);
template void outer(const Outer<float>&, std::int64_t, std::int64_t);
template void outer(const Outer<double>&, std::int64_t, std::int64_t);

}  // namespace impl_torch_ext
