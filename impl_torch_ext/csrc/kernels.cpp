// The choice of instruction set, the memory that a thread keeps, and where threads wait.
#include "kernels.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace impl_torch_ext {

namespace {

Target choose() {
    const std::vector<Target> known = known_targets();
    const char* wish = std::getenv("IMPL_TORCH_EXT_TARGET");
    if (wish == nullptr || *wish == '\0') return known.front();
    std::string names;
    for (const Target target : known) {
        if (std::strcmp(wish, target_name(target)) == 0) return target;
        names += std::string(names.empty() ? "" : ", ") + target_name(target);
    }
    throw std::invalid_argument("impl_torch_ext: IMPL_TORCH_EXT_TARGET must be one of " + names +
                                " on this machine, got '" + wish + "'");
}

struct Free {
    void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
};

struct Buffer {
    std::unique_ptr<void, Free> memory;
    std::size_t bytes = 0;
};

// Tells the processor that this is a wait.
inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

std::vector<Target> known_targets() {
    std::vector<Target> known;
#if IMPL_X86_TARGETS
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (avx2 && avx512) known.push_back(Target::avx512);
    if (avx2) known.push_back(Target::avx2);
#elif IMPL_NEON_TARGET
    known.push_back(Target::neon);
#endif
    known.push_back(Target::portable);
    return known;
}

Target target() {
    static const Target chosen = choose();
    return chosen;
}

const char* target_name(Target target) {
    switch (target) {
        case Target::avx512:
            return "avx512";
        case Target::avx2:
            return "avx2";
        case Target::neon:
            return "neon";
        default:
            return "portable";
    }
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

void Barrier::wait(int count) {
    constexpr int patience = 4096;
    const int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == count - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        round_.notify_all();
        return;
    }
    for (int i = 0; i < patience; ++i) {
        if (round_.load(std::memory_order_acquire) != round) return;
        pause();
    }
    round_.wait(round, std::memory_order_acquire);
}

}  // namespace impl_torch_ext
