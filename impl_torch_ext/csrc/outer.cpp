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

template <typename T>
void add_up(const T* levels, std::int64_t columns, std::int64_t blocks, T* sum) {
    bool first = true;
    for (; blocks > 0; blocks /= 2, levels += columns) {
        if (blocks % 2 == 0) continue;
        for (std::int64_t i = 0; i < columns; ++i) sum[i] = first ? levels[i] : levels[i] + sum[i];
        first = false;
    }
}

template std::int64_t outer_tiles(const Outer<float>&);
template std::int64_t outer_tiles(const Outer<double>&);
template void outer(const Outer<float>&, std::int64_t, std::int64_t);
template void outer(const Outer<double>&, std::int64_t, std::int64_t);
template void add_up(const float*, std::int64_t, std::int64_t, float*);
template void add_up(const double*, std::int64_t, std::int64_t, double*);

}  // namespace impl_torch_ext
