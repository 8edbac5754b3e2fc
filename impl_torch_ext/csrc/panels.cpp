// The choice of instruction set, the memory of the kernels, and the order in which they want the
// weights.
#include "kernels.h"

#include <algorithm>
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

template <typename T>
std::int64_t lanes() {
    return vector_bytes() / static_cast<std::int64_t>(sizeof(T));
}

std::int64_t rounded_up(std::int64_t count, std::int64_t size) {
    return (count + size - 1) / size * size;
}

// Panels for z W^T of `gates` stacked weights (units, depth) each, a panel holding `width` units of
// every gate.
template <typename T>
const T* pack_transposed(const T* weight, std::int64_t gates, std::int64_t units,
                         std::int64_t depth, std::int64_t rotate, std::int64_t width, Slot slot) {
    T* const panels = workspace<T>(slot, rounded_up(units, width) * gates * depth);
    const std::int64_t rows = gates * units, across = gates * width;
    // Sixteen columns at a time: the lines of a panel that they touch stay in the nearest cache.
    constexpr std::int64_t block = 16;
    for (std::int64_t unit = 0; unit < units; unit += width) {
        T* panel = panels + unit * gates * depth;
        for (std::int64_t start = 0; start < depth; start += block) {
            const std::int64_t stop = std::min(start + block, depth);
            for (std::int64_t gate = 0; gate < gates; ++gate) {
                for (std::int64_t lane = 0; lane < width; ++lane) {
                    T* column = panel + gate * width + lane;
                    const bool inside = unit + lane < units;
                    const T* row =
                        inside ? weight + (gate * units + unit + lane + rotate) % rows * depth
                               : nullptr;
                    for (std::int64_t k = start; k < stop; ++k)
                        column[k * across] = inside ? row[k] : T(0);
                }
            }
        }
    }
    return panels;
}

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

template <typename T>
const T* recurrent_panels(const T* weight, std::int64_t gates, std::int64_t hidden, Slot slot) {
    return pack_transposed(weight, gates, hidden, hidden, 0, (gates == 1 ? 2 : 1) * lanes<T>(),
                           slot);
}

template <typename T>
const T* transposed_panels(const T* weight, std::int64_t rows, std::int64_t columns,
                           std::int64_t rotate, Slot slot) {
    return pack_transposed(weight, 1, rows, columns, rotate, 2 * lanes<T>(), slot);
}

template <typename T>
const T* plain_panels(const T* weight, std::int64_t rows, std::int64_t columns, std::int64_t rotate,
                      Slot slot) {
    const std::int64_t width = 2 * lanes<T>();
    T* const panels = workspace<T>(slot, rounded_up(columns, width) * rows);
    T* to = panels;
    for (std::int64_t unit = 0; unit < columns; unit += width) {
        const std::int64_t inside = std::min(width, columns - unit);
        for (std::int64_t k = 0; k < rows; ++k) {
            const T* row = weight + (k + rotate) % rows * columns + unit;
            std::copy_n(row, inside, to);
            std::fill_n(to + inside, width - inside, T(0));
            to += width;
        }
    }
    return panels;
}

#define IMPL_INSTANTIATE(T)                                                                    \
    template const T* recurrent_panels<T>(const T*, std::int64_t, std::int64_t, Slot);         \
    template const T* transposed_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t, \
                                           Slot);                                              \
    template const T* plain_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Slot);
IMPL_INSTANTIATE(float)
IMPL_INSTANTIATE(double)
#undef IMPL_INSTANTIATE

}  // namespace impl_torch_ext
