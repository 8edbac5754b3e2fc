// Compiles one file of kernels for several instruction sets and chooses among them when the library
// runs.
//
// A source file that wants this defines IMPL_KERNELS as the name of its kernel file and includes
// this header. The kernels are then in the namespaces `portable`, and on x86 with GCC also `avx2`
// and `avx512`, on 64-bit ARM `neon`. Only code in those namespaces is compiled for more than the
// machine that every wheel must run on.
#pragma once

#include <cstdint>

#include "kernels.h"

#define IMPL_INLINE static inline __attribute__((always_inline))
#define IMPL_INLINE_MEMBER inline __attribute__((always_inline))

#define IMPL_VECTOR_BYTES 16
#define IMPL_ACCUMULATORS 12
namespace impl_torch_ext::portable {
#include "vectors.inl"
#include IMPL_KERNELS
}  // namespace impl_torch_ext::portable
#undef IMPL_VECTOR_BYTES
#undef IMPL_ACCUMULATORS

#if IMPL_X86_TARGETS

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define IMPL_VECTOR_BYTES 32
#define IMPL_ACCUMULATORS 12
namespace impl_torch_ext::avx2 {
#include "vectors.inl"
#include IMPL_KERNELS
}  // namespace impl_torch_ext::avx2
#undef IMPL_VECTOR_BYTES
#undef IMPL_ACCUMULATORS
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#define IMPL_VECTOR_BYTES 64
#define IMPL_ACCUMULATORS 24
namespace impl_torch_ext::avx512 {
#include "vectors.inl"
#include IMPL_KERNELS
}  // namespace impl_torch_ext::avx512
#undef IMPL_VECTOR_BYTES
#undef IMPL_ACCUMULATORS
#pragma GCC pop_options

// Runs KERNEL(ARGUMENTS...) as compiled for the set that `target()` names.
#define IMPL_DISPATCH(KERNEL, ...)                                  \
    switch (::impl_torch_ext::target()) {                           \
        case ::impl_torch_ext::Target::avx512:                      \
            return ::impl_torch_ext::avx512::KERNEL(__VA_ARGS__);   \
        case ::impl_torch_ext::Target::avx2:                        \
            return ::impl_torch_ext::avx2::KERNEL(__VA_ARGS__);     \
        default:                                                    \
            return ::impl_torch_ext::portable::KERNEL(__VA_ARGS__); \
    }

#elif IMPL_NEON_TARGET

// Every such machine has it: only the number of registers is another.
#define IMPL_VECTOR_BYTES 16
#define IMPL_ACCUMULATORS 24
namespace impl_torch_ext::neon {
#include "vectors.inl"
#include IMPL_KERNELS
}  // namespace impl_torch_ext::neon
#undef IMPL_VECTOR_BYTES
#undef IMPL_ACCUMULATORS

#define IMPL_DISPATCH(KERNEL, ...)                                  \
    switch (::impl_torch_ext::target()) {                           \
        case ::impl_torch_ext::Target::neon:                        \
            return ::impl_torch_ext::neon::KERNEL(__VA_ARGS__);     \
        default:                                                    \
            return ::impl_torch_ext::portable::KERNEL(__VA_ARGS__); \
    }

#else

#define IMPL_DISPATCH(KERNEL, ...) return ::impl_torch_ext::portable::KERNEL(__VA_ARGS__);

#endif
