// Weights in the order that the products of the kernels want them.
#include "kernels.h"

#include <algorithm>

namespace impl_torch_ext {

namespace {

template <typename T>
std::int64_t lanes() {
    return vector_bytes() / static_cast<std::int64_t>(sizeof(T));
}

template <typename T>
Panels<T> in_slot(Panels<T> panels, Slot slot) {
    panels.count = (panels.units + panels.width - 1) / panels.width;
    panels.memory = workspace<T>(slot, panels.count * panels.width * panels.gates * panels.depth);
    return panels;
}

// Four numbers, wherever they lie: every machine of the kinds that we build for has such vectors.
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

// Four columns of four rows become four rows of four columns.
void transpose(const float* from, std::int64_t stride, float* to, std::int64_t across) {
    const auto row = [&](int i) { return *reinterpret_cast<const Four*>(from + i * stride); };
    const Four a = row(0), b = row(1), c = row(2), d = row(3);
    const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const auto column = [&](int i) -> Four& { return *reinterpret_cast<Four*>(to + i * across); };
    column(0) = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    column(1) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    column(2) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    column(3) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

void transpose(const double* from, std::int64_t stride, double* to, std::int64_t across) {
    for (int i = 0; i < 4; ++i)
        for (int k = 0; k < 4; ++k) to[k * across + i] = from[i * stride + k];
}

// One panel for z W^T.
template <typename T>
void pack_transposed(const Panels<T>& call, std::int64_t unit, T* panel) {
    const std::int64_t rows = call.gates * call.units, across = call.gates * call.width;
    const std::int64_t depth = call.depth, inside = std::min(call.width, call.units - unit);
    // Sixteen columns at a time: the lines of a panel that they touch stay in the nearest cache.
    constexpr std::int64_t block = 16;
    for (std::int64_t start = 0; start < depth; start += block) {
        const std::int64_t stop = std::min(start + block, depth);
        for (std::int64_t gate = 0; gate < call.gates; ++gate) {
            T* const to = panel + gate * call.width;
            const std::int64_t first = gate * call.units + unit + call.rotate;
            for (std::int64_t lane = 0; lane < call.width; lane += 4) {
                const T* row = call.weight + (first + lane) % rows * depth;
                std::int64_t k = start;
                if (lane + 4 <= inside && (first + lane) % rows + 4 <= rows) {
                    for (; k + 4 <= stop; k += 4)
                        transpose(row + k, depth, to + k * across + lane, across);
                }
                for (std::int64_t i = lane; i < std::min(lane + 4, call.width); ++i) {
                    const T* one = call.weight + (first + i) % rows * depth;
                    for (std::int64_t j = k; j < stop; ++j)
                        to[j * across + i] = i < inside ? one[j] : T(0);
                }
            }
        }
    }
}

// One panel for z W.
template <typename T>
void pack_plain(const Panels<T>& call, std::int64_t unit, T* panel) {
    const std::int64_t width = call.width, inside = std::min(width, call.units - unit);
    for (std::int64_t k = 0; k < call.depth; ++k) {
        const T* row = call.weight + (k + call.rotate) % call.depth * call.units + unit;
        std::copy_n(row, inside, panel);
        std::fill_n(panel + inside, width - inside, T(0));
        panel += width;
    }
}

}  // namespace

template <typename T>
Panels<T> recurrent_panels(const T* weight, std::int64_t gates, std::int64_t hidden,
                           std::int64_t columns, Slot slot) {
    const std::int64_t width = (gates == 1 ? 2 : 1) * lanes<T>();
    return in_slot<T>({weight, true, gates, hidden, columns, 0, width, 0, nullptr}, slot);
}

template <typename T>
Panels<T> transposed_panels(const T* weight, std::int64_t rows, std::int64_t columns,
                            std::int64_t rotate, Slot slot) {
    return in_slot<T>({weight, true, 1, rows, columns, rotate, 2 * lanes<T>(), 0, nullptr}, slot);
}

template <typename T>
Panels<T> plain_panels(const T* weight, std::int64_t rows, std::int64_t columns,
                       std::int64_t rotate, Slot slot) {
    return in_slot<T>({weight, false, 1, columns, rows, rotate, 2 * lanes<T>(), 0, nullptr}, slot);
}

template <typename T>
void pack(const Panels<T>& panels, std::int64_t first, std::int64_t last) {
    const std::int64_t size = panels.width * panels.gates * panels.depth;
    for (std::int64_t p = first; p < last; ++p) {
        T* const panel = panels.memory + p * size;
        if (panels.transposed) {
            pack_transposed(panels, p * panels.width, panel);
        } else {
            pack_plain(panels, p * panels.width, panel);
        }
    }
}

#define IMPL_INSTANTIATE(T)                                                                       \
    template Panels<T> recurrent_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t,    \
                                           Slot);                                                 \
    template Panels<T> transposed_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t,   \
                                            Slot);                                                \
    template Panels<T> plain_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Slot); \
    template void pack<T>(const Panels<T>&, std::int64_t, std::int64_t);
IMPL_INSTANTIATE(float)
IMPL_INSTANTIATE(double)
#undef IMPL_INSTANTIATE

}  // namespace impl_torch_ext
