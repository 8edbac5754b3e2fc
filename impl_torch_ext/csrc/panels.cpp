// Weights in the order that the products of the kernels want them.
#include "kernels.h"

#include <algorithm>

namespace impl_torch_ext {

namespace {

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
