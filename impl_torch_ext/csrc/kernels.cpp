// The choice of instruction set, and the memory that a thread keeps.
#include "kernels.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace impl_torch_ext {

namespace {

Target widest() {
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
    const char* wish = std::getenv("IMPL_TORCH_EXT_TARGET");
    const bool portable = wish != nullptr && std::strcmp(wish, "portable") == 0;
    const bool narrow = wish != nullptr && std::strcmp(wish, "avx2") == 0;
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (avx2 && avx512 && !narrow && !portable) return Target::avx512;
    if (avx2 && !portable) return Target::avx2;
#endif
    return Target::portable;
}

struct Free {
    void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
};

struct Buffer {
    std::unique_ptr<void, Free> memory;
    std::size_t bytes = 0;
};

}  // namespace

Target target() {
    static const Target chosen = widest();
    return chosen;
}

int vector_bytes() {
    switch (target()) {
        case Target::avx512:
            return 64;
        case Target::avx2:
            return 32;
        default:
            return 16;
    }
}

void* workspace_bytes(Slot slot, std::size_t bytes) {
    thread_local std::array<Buffer, static_cast<std::size_t>(Slot::count)> buffers;
    Buffer& buffer = buffers[static_cast<std::size_t>(slot)];
    if (buffer.bytes < bytes) {
        buffer.memory.reset();
        buffer.bytes = 0;
        buffer.memory.reset(::operator new(bytes, std::align_val_t{64}));
        buffer.bytes = bytes;
    }
    return buffer.memory.get();
}

}  // namespace impl_torch_ext
