// What the kernels are built on, without a word of torch: the instruction set, the memory of a
// thread, weights in the order that the products want, and the kernels of no layer in particular.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

// The instruction sets that a build knows beside what every machine of its kind has.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define IMPL_X86_TARGETS 1
#else
#define IMPL_X86_TARGETS 0
#endif
#if defined(__aarch64__)
#define IMPL_NEON_TARGET 1
#else
#define IMPL_NEON_TARGET 0
#endif

namespace impl_torch_ext {

enum class Target { portable, neon, avx2, avx512 };

// The widest instruction set that this machine has and this build knows, or the one that
// IMPL_TORCH_EXT_TARGET in the environment asks for. Throws std::invalid_argument, naming those
// that there are, if that is none of them.
Target target();
const char* target_name(Target target);

// All that this machine has and this build knows, the widest first.
std::vector<Target> known_targets();

// Bytes in a vector of that set.
int vector_bytes();

// Memory that the calling thread keeps from call to call: fresh pages cost more than what is
// computed on them. A slot is good until the same thread asks for it again.
enum class Slot {
    panels,
    input_panels,
    projection_panels,
    bias,
    gates,
    inner,
    grad_h,
    grad_c,
    grad_states,
    input,
    state,
    states,
    levels,
    count
};
void* workspace_bytes(Slot slot, std::size_t bytes);

template <typename T>
T* workspace(Slot slot, std::int64_t count) {
    return static_cast<T*>(workspace_bytes(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

// A part of [0, size), the share `index` of `count` that are nearly equal.
struct Range {
    std::int64_t first, last;
};
inline Range part_of(std::int64_t size, std::int64_t index, std::int64_t count) {
    return {size * index / count, size * (index + 1) / count};
}

// Where a run of steps lies in arrays that have a row for each sample of each step, and the order
// in which it is computed. In a batch of different lengths the samples stand in falling order of
// length, so that those that have a step are the first ones.
//
// Steps are counted from the first of the run in time. The step before it, or after the last one,
// can be asked for where it is there: its rows lie before or after those of the run.
struct Steps {
    std::int64_t count, batch;
    const std::int64_t* starts;  // the row where each step begins; null where all have `batch` rows
    bool reverse;                // from the last step to the first
    bool begins;                 // whether no step is computed before the first of these

    // The first row of step t, counted from that of step 0; that of step `count` is all rows.
    std::int64_t start(std::int64_t t) const {
        return starts == nullptr ? t * batch : starts[t] - starts[0];
    }
    std::int64_t rows(std::int64_t t) const {
        return starts == nullptr ? batch : starts[t + 1] - starts[t];
    }
    std::int64_t all_rows() const { return start(count); }
    // The step that is computed as number i.
    std::int64_t number(std::int64_t i) const { return reverse ? count - 1 - i : i; }
    // The step that is computed before step t.
    std::int64_t before(std::int64_t t) const { return reverse ? t + 1 : t - 1; }
    // How many samples of step t go on from the step before; the others start from their first
    // state.
    std::int64_t running(std::int64_t t) const {
        if (begins && t == number(0)) return 0;
        const std::int64_t here = rows(t), there = rows(before(t));
        return here < there ? here : there;
    }
};

// One step that all of `rows` samples have: a matrix by itself.
inline Steps one_step(std::int64_t rows) { return {1, rows, nullptr, false, true}; }

// Where threads wait for each other: awake for a while, as what they wait for is short, then
// asleep.
class Barrier {
  public:
    void wait(int count);

  private:
    std::atomic<int> arrived_{0};
    std::atomic<int> round_{0};
};

// The panels in which the kernels want a weight matrix: blocks of neighbouring columns of the right
// factor, row by row, as wide as the sums that a tile keeps in registers. Threads that pack
// different panels never meet.
template <typename T>
struct Panels {
    const T* weight;
    bool transposed;      // for z W^T, else for z W
    std::int64_t gates;   // stacked weights, whose columns stand side by side in a panel
    std::int64_t units;   // columns of the right factor, of each gate
    std::int64_t depth;   // rows of the right factor
    std::int64_t rotate;  // rows of the weight are taken in cyclic order from this one on
    std::int64_t width;   // units in a panel
    std::int64_t count;   // panels
    T* memory;            // of the slot that was asked for
};

// recurrent_panels: h W^T for a weight (G H, columns). With G > 1 a panel is one vector of units,
// its G gates side by side; with G = 1 two vectors of units. transposed_panels: z W^T for a weight
// (rows, columns), panels of two vectors. plain_panels: z W, likewise.
template <typename T>
Panels<T> recurrent_panels(const T* weight, std::int64_t gates, std::int64_t hidden,
                           std::int64_t columns, Slot slot);
template <typename T>
Panels<T> transposed_panels(const T* weight, std::int64_t rows, std::int64_t columns,
                            std::int64_t rotate, Slot slot);
template <typename T>
Panels<T> plain_panels(const T* weight, std::int64_t rows, std::int64_t columns,
                       std::int64_t rotate, Slot slot);

// Fills the panels [first, last).
template <typename T>
void pack(const Panels<T>& panels, std::int64_t first, std::int64_t last);

// A right factor of sums of outer products, and where the sum is; without columns there is none.
template <typename T>
struct Factor {
    const T* head;  // (head_rows, columns): the first rows
    std::int64_t head_rows;
    const T* rest;  // the rows after them
    std::int64_t columns;
    T* sum;  // (rows of a weight, columns)
};

// Neighbouring columns of the left factor, and the first row that they have in the sum of either
// factor, or -1 where they have none.
struct Segment {
    std::int64_t first, rows, input_row, state_row;
};

// So many rows of both factors fit the nearest caches, and sums of so many products are then added
// up: shorter sums lose less.
constexpr std::int64_t OUTER_BLOCK = 128;

// sum (+)= left^T right for two right factors, and the sum of the rows of the left one: the
// gradients of both weights and of the bias. The rows are taken in blocks.
template <typename T>
struct Outer {
    std::int64_t depth;  // rows of the factors
    const T* left;
    std::int64_t left_stride;
    Factor<T> input, state;
    T* bias;              // (levels, columns of the left factor) or null: add_up makes one of them
    std::int64_t blocks;  // that were added before; with 0 the sums are not read
    Segment segments[3];
    int segment_count;
};

// The sums are computed in tiles; threads that take different ones never meet.
template <typename T>
std::int64_t outer_tiles(const Outer<T>& call);
template <typename T>
void outer(const Outer<T>& call, std::int64_t first, std::int64_t last);

// The sum of the levels of `bias` after so many blocks.
template <typename T>
void add_up(const T* levels, std::int64_t columns, std::int64_t blocks, T* sum);

// relu and its gradient from its output; a NaN passes through both.
template <typename T>
void relu_forward(const T* x, T* y, std::int64_t count);
template <typename T>
void relu_backward(const T* grad, const T* y, T* result, std::int64_t count);

}  // namespace impl_torch_ext
