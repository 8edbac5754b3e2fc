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

// One panel for z W^T.
template <typename T>
void pack_transposed(const Panels<T>& call, std::int64_t unit, T* panel) {
    const auto& [weight, transposed, gates, units, depth, rotate, width, count, memory] = call;
    const std::int64_t rows = gates * units, across = gates * width;
    // Sixteen columns at a time: the lines of a panel that they touch stay in the nearest cache.
    constexpr std::int64_t block = 16;
    for (std::int64_t start = 0; start < depth; start += block) {
        const std::int64_t stop = std::min(start + block, depth);
        for (std::int64_t gate = 0; gate < gates; ++gate) {
            for (std::int64_t lane = 0; lane < width; ++lane) {
                T* column = panel + gate * width + lane;
                const bool inside = unit + lane < units;
                const T* row = inside
                                   ? weight + (gate * units + unit + lane + rotate) % rows * depth
                                   : nullptr;
                for (std::int64_t k = start; k < stop; ++k)
                    column[k * across] = inside ? row[k] : T(0);
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
Panels<T> recurrent_panels(const T* weight, std::int64_t gates, std::int64_t hidden, Slot slot) {
    const std::int64_t width = (gates == 1 ? 2 : 1) * lanes<T>();
    return in_slot<T>({weight, true, gates, hidden, hidden, 0, width, 0, nullptr}, slot);
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
    template Panels<T> recurrent_panels<T>(const T*, std::int64_t, std::int64_t, Slot);           \
    template Panels<T> transposed_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t,   \
                                            Slot);                                                \
    template Panels<T> plain_panels<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Slot); \
    template void pack<T>(const Panels<T>&, std::int64_t, std::int64_t);
IMPL_INSTANTIATE(float)
IMPL_INSTANTIATE(double)
#undef IMPL_INSTANTIATE

}  // namespace impl_torch_ext
