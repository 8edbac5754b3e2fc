// What a CUDA source finds around it when g++ compiles it for the CPU: qualifiers, built-in
// variables, device functions, and the loop over grid and block. Nothing here is seen by NVRTC.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>
#include <utility>

#include "prelude_math.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __constant__ static
#define __shared__ static
#define __align__(n) alignas(n)
#define __CUDA_EMULATION__ 1

struct uint3 {
    unsigned int x, y, z;
};
struct dim3 {
    unsigned int x, y, z;
};

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

namespace emulation {

struct Shape {
    unsigned int grid[3];
    unsigned int block[3];
    unsigned int shared_bytes;
    unsigned int reverse;
};

static char message[256];

// One allocation of exactly the size that the launch asked for, so that AddressSanitizer sees its
// ends.
static unsigned char* shared_memory = nullptr;

inline uint3 place(unsigned long long index, const unsigned int* sizes) {
    return {static_cast<unsigned int>(index % sizes[0]),
            static_cast<unsigned int>(index / sizes[0] % sizes[1]),
            static_cast<unsigned int>(index / sizes[0] / sizes[1])};
}

inline unsigned long long count(const unsigned int* sizes) {
    return static_cast<unsigned long long>(sizes[0]) * sizes[1] * sizes[2];
}

}  // namespace emulation

#ifdef EMULATION_FIBERS
#include "prelude_fibers.h"
#else
namespace emulation {

// Without barriers the threads of a block can run one after the other.
template <class Body>
int run_block(const Shape& shape, const Body& body) {
    const unsigned long long threads = count(shape.block);
    for (unsigned long long i = 0; i < threads; ++i) {
        threadIdx = place(shape.reverse ? threads - 1 - i : i, shape.block);
        body();
    }
    return 0;
}

}  // namespace emulation
#endif

namespace emulation {

template <class Body>
int run_grid(const Shape& shape, const Body& body) {
    gridDim = {shape.grid[0], shape.grid[1], shape.grid[2]};
    blockDim = {shape.block[0], shape.block[1], shape.block[2]};
    const unsigned long long blocks = count(shape.grid);
    int status = 0;
    for (unsigned long long i = 0; i < blocks && status == 0; ++i) {
        blockIdx = place(shape.reverse ? blocks - 1 - i : i, shape.grid);
        shared_memory = new unsigned char[shape.shared_bytes];
        memset(shared_memory, 0xff, shape.shared_bytes);
        status = run_block(shape, body);
        delete[] shared_memory;
    }
    return status;
}

template <class T>
struct Code {
    static_assert(std::is_arithmetic<T>::value,
                  "kernel parameters must be numbers or pointers to numbers");
    static void write(char*& end) {
        const char kind = std::is_same<T, bool>::value       ? 'b'
                          : std::is_floating_point<T>::value ? 'f'
                          : std::is_signed<T>::value         ? 'i'
                                                             : 'u';
        *end++ = kind;
        end += sprintf(end, "%d", static_cast<int>(sizeof(T)));
    }
};

template <>
struct Code<void> {
    static void write(char*& end) { *end++ = 'v'; }
};

template <class T>
struct Code<T*> {
    static void write(char*& end) {
        *end++ = '*';
        Code<typename std::remove_cv<T>::type>::write(end);
    }
};

// Arguments come as one 64-bit word each: an address, or a number in its first bytes.
template <auto F>
struct Kernel;

template <class... A, void (*F)(A...)>
struct Kernel<F> {
    static const char* signature() {
        static char text[24 * (sizeof...(A) + 1)];
        char* end = text;
        int unused[] = {0, (Code<A>::write(end), *end++ = ',', 0)...};
        (void)unused;
        if (sizeof...(A)) --end;
        *end = 0;
        return text;
    }

    static int launch(const Shape* shape, const uint64_t* words) {
        return launch(*shape, words, std::make_index_sequence<sizeof...(A)>());
    }

    template <size_t... I>
    static int launch(const Shape& shape, const uint64_t* words, std::index_sequence<I...>) {
        return run_grid(shape, [words] { F(*reinterpret_cast<const A*>(words + I)...); });
    }
};

}  // namespace emulation
