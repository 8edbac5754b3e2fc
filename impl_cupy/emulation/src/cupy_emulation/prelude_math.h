// Device functions that the C library lacks. Rounding-mode suffixes other than to-nearest are left
// out: a kernel that wants them does not compile here, which is better than a wrong result.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EMULATION_DEVICE static inline __attribute__((unused))

EMULATION_DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
EMULATION_DEVICE double rsqrt(double x) { return 1.0 / sqrt(x); }
EMULATION_DEVICE float rsqrt(float x) { return rsqrtf(x); }
EMULATION_DEVICE float rcbrtf(float x) { return 1.0f / cbrtf(x); }
EMULATION_DEVICE float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }
EMULATION_DEVICE double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }
EMULATION_DEVICE float sinpif(float x) { return sinf(x * 3.14159265358979324f); }
EMULATION_DEVICE float cospif(float x) { return cosf(x * 3.14159265358979324f); }

// Macros, since the C library has declared functions of these names for itself.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __exp10f(x) powf(10.0f, x)
#define __powf(x, y) powf(x, y)

EMULATION_DEVICE float __fdividef(float x, float y) { return x / y; }
EMULATION_DEVICE float fdividef(float x, float y) { return x / y; }
EMULATION_DEVICE float __frcp_rn(float x) { return 1.0f / x; }
EMULATION_DEVICE float __fsqrt_rn(float x) { return sqrtf(x); }
EMULATION_DEVICE float __frsqrt_rn(float x) { return rsqrtf(x); }
EMULATION_DEVICE float __fadd_rn(float x, float y) { return x + y; }
EMULATION_DEVICE float __fsub_rn(float x, float y) { return x - y; }
EMULATION_DEVICE float __fmul_rn(float x, float y) { return x * y; }
EMULATION_DEVICE float __fdiv_rn(float x, float y) { return x / y; }
EMULATION_DEVICE float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
EMULATION_DEVICE double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
EMULATION_DEVICE double __dadd_rn(double x, double y) { return x + y; }
EMULATION_DEVICE double __dmul_rn(double x, double y) { return x * y; }
EMULATION_DEVICE float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

EMULATION_DEVICE int __float2int_rn(float x) { return static_cast<int>(lrintf(x)); }
EMULATION_DEVICE int __float2int_rz(float x) { return static_cast<int>(x); }
EMULATION_DEVICE float __int2float_rn(int x) { return static_cast<float>(x); }
EMULATION_DEVICE float __double2float_rn(double x) { return static_cast<float>(x); }

namespace emulation {
template <class To, class From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits: sizes differ");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace emulation

EMULATION_DEVICE int __float_as_int(float x) { return emulation::bits<int>(x); }
EMULATION_DEVICE unsigned __float_as_uint(float x) { return emulation::bits<unsigned>(x); }
EMULATION_DEVICE float __int_as_float(int x) { return emulation::bits<float>(x); }
EMULATION_DEVICE float __uint_as_float(unsigned x) { return emulation::bits<float>(x); }
EMULATION_DEVICE long long __double_as_longlong(double x) { return emulation::bits<long long>(x); }
EMULATION_DEVICE double __longlong_as_double(long long x) { return emulation::bits<double>(x); }
EMULATION_DEVICE int __popc(unsigned x) { return __builtin_popcount(x); }
EMULATION_DEVICE int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
EMULATION_DEVICE int __ffs(int x) { return __builtin_ffs(x); }
EMULATION_DEVICE int __mul24(int x, int y) { return x * y; }
EMULATION_DEVICE unsigned __umulhi(unsigned x, unsigned y) {
    return static_cast<unsigned>((static_cast<uint64_t>(x) * y) >> 32);
}

#define EMULATION_MIN_MAX(T)                                   \
    EMULATION_DEVICE T min(T x, T y) { return y < x ? y : x; } \
    EMULATION_DEVICE T max(T x, T y) { return x < y ? y : x; }
EMULATION_MIN_MAX(int)
EMULATION_MIN_MAX(unsigned int)
EMULATION_MIN_MAX(long)
EMULATION_MIN_MAX(unsigned long)
EMULATION_MIN_MAX(long long)
EMULATION_MIN_MAX(unsigned long long)
#undef EMULATION_MIN_MAX
EMULATION_DEVICE float min(float x, float y) { return fminf(x, y); }
EMULATION_DEVICE float max(float x, float y) { return fmaxf(x, y); }
EMULATION_DEVICE double min(double x, double y) { return fmin(x, y); }
EMULATION_DEVICE double max(double x, double y) { return fmax(x, y); }

template <class T>
T __ldg(const T* address) {
    return *address;
}

// One thread runs at a time, so that a plain read and write is atomic.
#define EMULATION_ATOMIC(name, expression)     \
    template <class T, class U>                \
    T name(T* address, U given) {              \
        const T old = *address;                \
        const T value = static_cast<T>(given); \
        *address = (expression);               \
        return old;                            \
    }
EMULATION_ATOMIC(atomicAdd, old + value)
EMULATION_ATOMIC(atomicSub, old - value)
EMULATION_ATOMIC(atomicMax, old < value ? value : old)
EMULATION_ATOMIC(atomicMin, value < old ? value : old)
EMULATION_ATOMIC(atomicExch, value)
EMULATION_ATOMIC(atomicAnd, old& value)
EMULATION_ATOMIC(atomicOr, old | value)
EMULATION_ATOMIC(atomicXor, old ^ value)
#undef EMULATION_ATOMIC

template <class T>
T atomicCAS(T* address, T compare, T value) {
    const T old = *address;
    if (old == compare) *address = value;
    return old;
}

EMULATION_DEVICE void __threadfence() {}
EMULATION_DEVICE void __threadfence_block() {}

#define EMULATION_VECTOR(name, T, n) struct alignas(sizeof(T) * n) name##n
#define EMULATION_VECTORS(name, T)                                       \
    EMULATION_VECTOR(name, T, 2) { T x, y; };                            \
    EMULATION_VECTOR(name, T, 4) { T x, y, z, w; };                      \
    EMULATION_DEVICE name##2 make_##name##2(T x, T y) { return {x, y}; } \
    EMULATION_DEVICE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATION_VECTORS(float, float)
EMULATION_VECTORS(int, int)
#undef EMULATION_VECTORS
#undef EMULATION_VECTOR
struct alignas(16) double2 {
    double x, y;
};
EMULATION_DEVICE double2 make_double2(double x, double y) { return {x, y}; }
