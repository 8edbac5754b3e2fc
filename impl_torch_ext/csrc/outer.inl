// The sums over all steps and samples from which the gradients of the weights and biases of a layer
// are made; compiled once per instruction set (targets.h).

// So many rows of both factors fit the nearest caches, and sums of so many products are then added
// up: shorter sums lose less.
constexpr std::int64_t rows_of_block = 128;

template <typename T>
static std::int64_t tiles_of_segment(const Segment& segment) {
    constexpr int most = rows_of_tile(2);
    return (segment.rows + most - 1) / most;
}

template <typename T>
static std::int64_t count_tiles(const Outer<T>& call) {
    std::int64_t tiles = 0;
    for (int s = 0; s < call.segment_count; ++s) tiles += tiles_of_segment<T>(call.segments[s]);
    return tiles;
}

// Rows [start, stop) of a right factor as panels of two vectors, each panel row by row, zeros past
// the last column.
template <typename T>
static void pack_right(const Factor<T>& factor, std::int64_t start, std::int64_t stop, T* panels) {
    constexpr int lanes = Simd<T>::lanes, width = 2 * lanes;
    const std::int64_t columns = factor.columns;
    for (std::int64_t column = 0; column < columns; column += width) {
        const int inside = column + width < columns ? width : static_cast<int>(columns - column);
        for (std::int64_t row = start; row < stop; ++row) {
            const T* from =
                (row < factor.head_rows ? factor.head + row * columns
                                        : factor.rest + (row - factor.head_rows) * columns) +
                column;
            if (inside == width) {
                store<T, true>(panels, load<T, true>(from, lanes), lanes);
                store<T, true>(panels + lanes, load<T, true>(from + lanes, lanes), lanes);
            } else {
                for (int i = 0; i < width; ++i) panels[i] = i < inside ? from[i] : T(0);
            }
            panels += width;
        }
    }
}

// `rows` columns of the left factor side by side, zeros past them, and the sum of each.
template <typename T, int rows>
IMPL_INLINE void pack_columns(const T* left, std::int64_t stride, std::int64_t depth, T* strip,
                              T* sums) {
    constexpr int most = rows_of_tile(2);
    // Four sums of a column that do not wait for each other.
    T partial[4][rows] = {};
    for (std::int64_t k = 0; k < depth; k += 4) {
        const int count = depth - k < 4 ? static_cast<int>(depth - k) : 4;
        for (int i = 0; i < count; ++i) {
#pragma GCC unroll 8
            for (int m = 0; m < rows; ++m) {
                const T value = left[m];
                strip[m] = value;
                partial[i][m] += value;
            }
            for (int m = rows; m < most; ++m) strip[m] = T(0);
            left += stride;
            strip += most;
        }
    }
    for (int m = 0; m < rows; ++m)
        sums[m] = (partial[0][m] + partial[1][m]) + (partial[2][m] + partial[3][m]);
}

template <typename T>
static void pack_left(const T* left, std::int64_t stride, std::int64_t depth, int rows, T* strip,
                      T* sums) {
    constexpr int most = rows_of_tile(2);
    if (rows == most) return pack_columns<T, most>(left, stride, depth, strip, sums);
    for (std::int64_t k = 0; k < depth; ++k)
        for (int m = 0; m < most; ++m) strip[k * most + m] = T(0);
    for (int m = 0; m < rows; ++m) {
        // One column at a time: few tiles have fewer rows.
        T partial[4] = {};
        for (std::int64_t k = 0; k < depth; ++k) {
            const T value = left[k * stride + m];
            strip[k * most + m] = value;
            partial[k % 4] += value;
        }
        sums[m] = (partial[0] + partial[1]) + (partial[2] + partial[3]);
    }
}

// One tile of rows times all panels of a right factor, of `depth` rows.
template <typename T>
static void outer_tile(const T* strip, const Factor<T>& factor, const T* panels, std::int64_t depth,
                       std::int64_t row, int rows, bool add) {
    constexpr int most = rows_of_tile(2), lanes = Simd<T>::lanes;
    alignas(64) T sums[most * 2 * lanes];
    const Store<T> store{factor.sum, factor.columns, factor.columns, add};
    for (std::int64_t p = 0; p < panels_of<T>(factor.columns, 2); ++p) {
        tile<T, 2, most, Left::strip>(strip, 0, panels + p * depth * 2 * lanes, depth, sums);
        store(p, row, rows, sums);
    }
}

// The tiles [first, last), counted through all segments.
template <typename T>
static void outer_tiles(const Outer<T>& call, std::int64_t first, std::int64_t last) {
    constexpr int most = rows_of_tile(2), lanes = Simd<T>::lanes;
    const std::int64_t width = 2 * lanes * rows_of_block;
    T* input = workspace<T>(Slot::input, width * panels_of<T>(call.input.columns, 2));
    T* state = workspace<T>(Slot::state, width * panels_of<T>(call.state.columns, 2));
    alignas(64) T strip[rows_of_block * most];
    T sums[most];
    for (std::int64_t start = 0; start < call.depth; start += rows_of_block) {
        const std::int64_t stop =
            start + rows_of_block < call.depth ? start + rows_of_block : call.depth;
        const bool add = call.add || start > 0;
        pack_right(call.input, start, stop, input);
        pack_right(call.state, start, stop, state);
        std::int64_t before = 0;
        for (int s = 0; s < call.segment_count; ++s) {
            const Segment& segment = call.segments[s];
            const std::int64_t tiles = tiles_of_segment<T>(segment);
            const std::int64_t from = first > before ? first - before : 0;
            const std::int64_t to = last - before < tiles ? last - before : tiles;
            for (std::int64_t i = from; i < to; ++i) {
                const std::int64_t row = i * most, column = segment.first + row;
                const int rows =
                    segment.rows - row < most ? static_cast<int>(segment.rows - row) : most;
                pack_left(call.left + start * call.left_stride + column, call.left_stride,
                          stop - start, rows, strip, sums);
                if (segment.input_row >= 0)
                    outer_tile(strip, call.input, input, stop - start, segment.input_row + row,
                               rows, add);
                if (segment.state_row >= 0)
                    outer_tile(strip, call.state, state, stop - start, segment.state_row + row,
                               rows, add);
                if (call.bias == nullptr) continue;
                for (int m = 0; m < rows; ++m)
                    call.bias[column + m] = add ? call.bias[column + m] + sums[m] : sums[m];
            }
            before += tiles;
        }
    }
}
