// Loops of what chooses among elements: see selection_loops.inl.
#define IMPL_KERNELS "selection_loops.inl"
#include "selection_loops.h"

#include "targets.h"

namespace impl_torch_ext {

template <typename T>
void absolute_loop(const T* grad, const T* x, T* result, std::int64_t count) {
    IMPL_DISPATCH(absolute_loop, grad, x, result, count)
}

template <typename T>
void clamp_loop(const T* grad, const T* x, T low, T high, T* result, std::int64_t count) {
    IMPL_DISPATCH(clamp_loop, grad, x, low, high, result, count)
}

template <typename T>
void extremum_loop(const T* grad, const T* mine, const T* other, bool largest, T* result,
                   std::int64_t count) {
    IMPL_DISPATCH(extremum_loop, grad, mine, other, largest, result, count)
}

template <typename T>
void extreme_loop(const T* grad, const T* x, const T* extreme, T* result, std::int64_t n,
                  std::int64_t inner, std::int64_t* numbers, T* shares){
    IMPL_DISPATCH(extreme_loop, grad, x, extreme, result, n, inner, numbers, shares)}

#define IMPL_LOOPS(T)                                                                        \
    template void absolute_loop(const T*, const T*, T*, std::int64_t);                       \
    template void clamp_loop(const T*, const T*, T, T, T*, std::int64_t);                    \
    template void extremum_loop(const T*, const T*, const T*, bool, T*, std::int64_t);       \
    template void extreme_loop(const T*, const T*, const T*, T*, std::int64_t, std::int64_t, \
                               std::int64_t*, T*);

IMPL_LOOPS(float) IMPL_LOOPS(double)

}  // namespace impl_torch_ext
