// The sum over all steps and samples of outer products, which is the gradient of a weight matrix;
// compiled once per instruction set (targets.h).

// Rows [start, stop) of `count` columns of a row-major matrix as strips of `width` columns, each
// strip row by row, zeros past the end.
template <typename T>
static void pack_strips(const T* matrix, std::int64_t stride, std::int64_t start, std::int64_t stop,
                        std::int64_t count, std::int64_t width, T* strips) {
    for (std::int64_t column = 0; column < count; column += width) {
        const std::int64_t inside = column + width < count ? width : count - column;
        for (std::int64_t row = start; row < stop; ++row) {
            const T* from = matrix + row * stride + column;
            for (std::int64_t i = 0; i < inside; ++i) strips[i] = from[i];
            for (std::int64_t i = inside; i < width; ++i) strips[i] = T(0);
            strips += width;
        }
    }
}

template <typename T>
static void outer_rows(const Outer<T>& call, std::int64_t first, std::int64_t last) {
    constexpr int most = rows_of_tile(2);
    constexpr int lanes = Simd<T>::lanes;
    // So many rows of both factors fit the nearest caches, and sums of so many products are then
    // added up: shorter sums lose less.
    constexpr std::int64_t block = 128;
    const std::int64_t panels = panels_of<T>(call.columns, 2);
    T* right = workspace<T>(Slot::right, block * panels * 2 * lanes);
    T* left = workspace<T>(Slot::left, block * most);
    alignas(64) T sums[most * 2 * lanes];
    for (std::int64_t start = 0; start < call.depth; start += block) {
        const std::int64_t stop = start + block < call.depth ? start + block : call.depth;
        pack_strips(call.right, call.right_stride, start, stop, call.columns, 2 * lanes, right);
        const Store<T> store{call.sum, call.columns, call.columns, call.add || start > 0};
        for (std::int64_t row = first; row < last; row += most) {
            const int rows = row + most < last ? most : static_cast<int>(last - row);
            pack_strips(call.left + row, call.left_stride, start, stop, rows, most, left);
            for (std::int64_t p = 0; p < panels; ++p) {
                tile<T, 2, most, Left::strip>(left, 0, right + p * (stop - start) * 2 * lanes,
                                              stop - start, sums);
                store(p, row, rows, sums);
            }
        }
    }
}
