// Blocks whose threads wait for one another: each thread of a block is a fiber with its own stack,
// and a fiber that reaches a barrier gives way until all that must reach it have.
#pragma once
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {

enum State { RUNNABLE, AT_BLOCK_BARRIER, AT_WARP_BARRIER, ENDED };

// Where a fiber, or the scheduler, goes on.
struct Place {
    ucontext_t context;
    jmp_buf jump;
    bool left;
};

struct Fiber {
    Place where;
    State state;
    unsigned char* stack;
    void* fake_stack;
};

static const size_t STACK_BYTES = 256 * 1024;
static const int MAX_THREADS = 1024;
static Fiber fibers[MAX_THREADS];
static uint64_t warp_words[MAX_THREADS];
static Place scheduler;
static void* scheduler_fake_stack;
static const void* scheduler_stack;
static size_t scheduler_stack_bytes;
static int current;
static int block_threads;
static void (*run_body)(const void*);
static const void* body_address;

// AddressSanitizer has to be told of each change of stacks.
inline void leave(void** fake_stack, const void* stack, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#else
    (void)fake_stack, (void)stack, (void)bytes;
#endif
}

inline void arrive(void* fake_stack, const void** stack, size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, stack, bytes);
#else
    (void)fake_stack, (void)stack, (void)bytes;
#endif
}

inline void change(Place& from, Place& to) {
#if defined(__SANITIZE_ADDRESS__)
    swapcontext(&from.context, &to.context);
#else
    // swapcontext asks the system for the mask of signals each time, which takes most of its time.
    if (_setjmp(from.jump) != 0) return;
    from.left = true;
    if (to.left) _longjmp(to.jump, 1);
    setcontext(&to.context);
#endif
}

inline void give_way(State state) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
    leave(state == ENDED ? nullptr : &fiber.fake_stack, scheduler_stack, scheduler_stack_bytes);
    change(fiber.where, scheduler);
    arrive(fiber.fake_stack, &scheduler_stack, &scheduler_stack_bytes);
}

inline void enter() {
    arrive(nullptr, &scheduler_stack, &scheduler_stack_bytes);
    run_body(body_address);
    give_way(ENDED);
}

inline void resume(int thread) {
    current = thread;
    threadIdx = place(static_cast<unsigned long long>(thread), &blockDim.x);
    Fiber& fiber = fibers[thread];
    leave(&scheduler_fake_stack, fiber.stack, STACK_BYTES);
    change(scheduler, fiber.where);
    arrive(scheduler_fake_stack, nullptr, nullptr);
}

// Let go those that wait at a barrier which all living threads of [first, last) have reached.
inline bool release(int first, int last, State barrier) {
    bool any = false;
    for (int i = first; i < last; ++i) {
        if (fibers[i].state == ENDED) continue;
        if (fibers[i].state != barrier) return false;
        any = true;
    }
    for (int i = first; i < last; ++i)
        if (fibers[i].state == barrier) fibers[i].state = RUNNABLE;
    return any;
}

inline bool release_all() {
    bool any = release(0, block_threads, AT_BLOCK_BARRIER);
    for (int first = 0; first < block_threads; first += warpSize)
        any |= release(first, min(first + warpSize, block_threads), AT_WARP_BARRIER);
    return any;
}

inline bool start(Fiber& fiber) {
    if (fiber.stack == nullptr) {
        void* memory =
            mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return false;
        fiber.stack = static_cast<unsigned char*>(memory);
    }
    ucontext_t& context = fiber.where.context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    fiber.where.left = false;
    fiber.fake_stack = nullptr;
    fiber.state = RUNNABLE;
    makecontext(&context, enter, 0);
    return true;
}

template <class Body>
int run_block(const Shape& shape, const Body& body) {
    block_threads = static_cast<int>(count(shape.block));
    body_address = &body;
    run_body = [](const void* address) { (*static_cast<const Body*>(address))(); };
    for (int i = 0; i < block_threads; ++i)
        if (!start(fibers[i])) {
            snprintf(message, sizeof message, "no memory for the stacks of %d threads",
                     block_threads);
            return 1;
        }
    int ended = 0;
    while (ended < block_threads) {
        bool moved = false;
        for (int i = 0; i < block_threads; ++i) {
            const int thread = shape.reverse ? block_threads - 1 - i : i;
            if (fibers[thread].state != RUNNABLE) continue;
            moved = true;
            resume(thread);
            if (fibers[thread].state == ENDED) ++ended;
        }
        if (!release_all() && !moved) {
            snprintf(message, sizeof message,
                     "block (%u, %u, %u): threads wait at different barriers", blockIdx.x,
                     blockIdx.y, blockIdx.z);
            return 1;
        }
    }
    return 0;
}

template <class T>
uint64_t to_word(T value) {
    static_assert(sizeof(T) <= 8, "warp functions take values of at most 8 bytes");
    uint64_t word = 0;
    memcpy(&word, &value, sizeof value);
    return word;
}

template <class T>
T from_word(uint64_t word) {
    T value;
    memcpy(&value, &word, sizeof value);
    return value;
}

inline void wait_for_warp() { give_way(AT_WARP_BARRIER); }

// The value that the lane `source` of this warp passed, or one's own where there is no such lane.
template <class T>
T exchange(T value, int source) {
    const int first = current / warpSize * warpSize;
    warp_words[current] = to_word(value);
    wait_for_warp();
    const bool there = source >= 0 && source < warpSize && first + source < block_threads;
    const T given = there ? from_word<T>(warp_words[first + source]) : value;
    wait_for_warp();
    return given;
}

inline unsigned ballot(bool predicate) {
    const int first = current / warpSize * warpSize;
    warp_words[current] = predicate;
    wait_for_warp();
    unsigned bits = 0;
    for (int lane = 0; lane < warpSize && first + lane < block_threads; ++lane)
        if (fibers[first + lane].state != ENDED && warp_words[first + lane]) bits |= 1u << lane;
    wait_for_warp();
    return bits;
}

}  // namespace emulation

EMULATION_DEVICE void __syncthreads() { emulation::give_way(emulation::AT_BLOCK_BARRIER); }
EMULATION_DEVICE void __syncwarp(unsigned = 0xffffffffu) { emulation::wait_for_warp(); }

template <class T>
T __shfl_sync(unsigned, T value, int source, int width = 32) {
    const int lane = emulation::current % 32;
    return emulation::exchange(value, lane / width * width + source % width);
}

template <class T>
T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
    const int lane = emulation::current % 32;
    const bool inside = lane % width + static_cast<int>(delta) < width;
    return emulation::exchange(value, inside ? lane + static_cast<int>(delta) : lane);
}

template <class T>
T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
    const int lane = emulation::current % 32;
    const bool inside = lane % width - static_cast<int>(delta) >= 0;
    return emulation::exchange(value, inside ? lane - static_cast<int>(delta) : lane);
}

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
    const int lane = emulation::current % 32;
    const int source = lane ^ mask;
    return emulation::exchange(value, source / width == lane / width ? source : lane);
}

EMULATION_DEVICE unsigned __ballot_sync(unsigned, int predicate) {
    return emulation::ballot(predicate != 0);
}
EMULATION_DEVICE int __any_sync(unsigned, int predicate) {
    return emulation::ballot(predicate != 0) != 0;
}
EMULATION_DEVICE int __all_sync(unsigned, int predicate) {
    return emulation::ballot(predicate == 0) == 0;
}
