// The sums over all steps and samples from which the gradients of the weights and biases of a layer
// are made; compiled once per instruction set (targets.h).

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

// Adds the sums of block `number` to those of the blocks before it by pairs: level l holds the sum
// of 2^l blocks, where bit l of the number of blocks is set.
template <typename T>
static void add_bias(const Outer<T>& call, std::int64_t number, std::int64_t column, int rows,
                     T* sums) {
    T* level = call.bias + column;
    for (; number % 2 == 1; number /= 2, level += call.left_stride)
        for (int m = 0; m < rows; ++m) sums[m] = level[m] + sums[m];
    for (int m = 0; m < rows; ++m) level[m] = sums[m];
}

// A block of rows, with the right factors packed.
template <typename T>
struct OuterBlock {
    std::int64_t number, depth;
    const T* left;
    const T *input, *state;
    bool add;
};

// Tile `i` of a segment.
template <typename T>
static void add_tile(const Outer<T>& call, const OuterBlock<T>& block, const Segment& segment,
                     std::int64_t i) {
    constexpr int most = rows_of_tile(2);
    alignas(64) T strip[OUTER_BLOCK * most];
    T sums[most];
    const std::int64_t row = i * most, column = segment.first + row, left = segment.rows - row;
    const int rows = left < most ? static_cast<int>(left) : most;
    pack_left(block.left + column, call.left_stride, block.depth, rows, strip, sums);
    if (segment.input_row >= 0)
        outer_tile(strip, call.input, block.input, block.depth, segment.input_row + row, rows,
                   block.add);
    if (segment.state_row >= 0)
        outer_tile(strip, call.state, block.state, block.depth, segment.state_row + row, rows,
                   block.add);
    if (call.bias != nullptr) add_bias(call, block.number, column, rows, sums);
}

// The tiles [first, last), counted through all segments.
template <typename T>
static void outer_tiles(const Outer<T>& call, std::int64_t first, std::int64_t last) {
    const std::int64_t width = 2 * Simd<T>::lanes * OUTER_BLOCK;
    T* input = workspace<T>(Slot::input, width * panels_of<T>(call.input.columns, 2));
    T* state = workspace<T>(Slot::state, width * panels_of<T>(call.state.columns, 2));
    std::int64_t number = call.blocks;
    for (std::int64_t start = 0; start < call.depth; start += OUTER_BLOCK, ++number) {
        const std::int64_t left = call.depth - start;
        const std::int64_t depth = left < OUTER_BLOCK ? left : OUTER_BLOCK;
        pack_right(call.input, start, start + depth, input);
        pack_right(call.state, start, start + depth, state);
        const OuterBlock<T> block{number, depth, call.left + start * call.left_stride,
                                  input,  state, number > 0};
        std::int64_t before = 0;
        for (int s = 0; s < call.segment_count; ++s) {
            const std::int64_t tiles = tiles_of_segment<T>(call.segments[s]);
            const std::int64_t from = first > before ? first - before : 0;
            const std::int64_t to = last - before < tiles ? last - before : tiles;
            for (std::int64_t i = from; i < to; ++i) add_tile(call, block, call.segments[s], i);
            before += tiles;
        }
    }
}
