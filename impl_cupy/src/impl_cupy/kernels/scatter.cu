// The gradient of looking rows up: rows of values are added to the rows of out that they came from.
//
// Float atomics would add in another order on each run. Here the rows' numbers are sorted first,
// and one thread adds up all that belongs to one element of out, in the order of the look-ups, so
// the sum is the same bit for bit each time.

#define FOR_EACH_INDEX(i, count)                                                      \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \
         i += (long long)gridDim.x * blockDim.x)

// values       (lookups, width)  in   one row per look-up
// order        (lookups,)        in   positions of the look-ups, sorted by row
// sorted_rows  (lookups,)        in   row of each, in that order; 0 <= row < rows of out
// out          (rows, width)     out  zeros before; no row is written by two threads
// skipped                        in   a row that gets nothing, or -1
// count                          in   lookups * width: a thread owns a position and a column
// No array may overlap another. Sums are formed in double, with what rounding loses on the side
// (Knuth 1969, 4.2.2: of the two numbers none need be the greater).
template <typename Real>
__device__ void scatter_rows(const Real* values, const long long* order,
                             const long long* sorted_rows, Real* out, long long lookups,
                             long long width, long long skipped, long long count) {
    FOR_EACH_INDEX(i, count) {
        long long position = i / width;
        long long column = i % width;
        long long row = sorted_rows[position];
        bool is_first = position == 0 || sorted_rows[position - 1] != row;
        if (!is_first || row == skipped) continue;
        double sum = 0.0, lost = 0.0;
        for (long long p = position; p < lookups && sorted_rows[p] == row; ++p) {
            double value = (double)values[order[p] * width + column];
            double next = sum + value;
            double added = next - sum;
            lost += (sum - (next - added)) + (value - added);
            sum = next;
        }
        // Where the sum is infinite, what was lost is NaN.
        out[row * width + column] = (Real)(lost == lost ? sum + lost : sum);
    }
}

#define VARIANTS(Real)                                                                       \
    extern "C" __global__ void scatter_rows_##Real(                                          \
        const Real* values, const long long* order, const long long* sorted_rows, Real* out, \
        long long lookups, long long width, long long skipped, long long count) {            \
        scatter_rows<Real>(values, order, sorted_rows, out, lookups, width, skipped, count); \
    }

VARIANTS(float)
VARIANTS(double)
