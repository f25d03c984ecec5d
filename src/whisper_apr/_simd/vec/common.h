/* Shared by all vector headers: compiler-specific keywords, and scalar conversion of float16. */
#ifndef WHISPER_APR_VEC_COMMON_H
#define WHISPER_APR_VEC_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* GCC's partial redundancy elimination makes register blocks copy and store their accumulators at every step, which
 * doubles the time of int8 products. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-pre")
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define APR_INLINE static __forceinline
#define APR_RESTRICT __restrict
#define APR_UNROLL
#define APR_NOINLINE __declspec(noinline)
#define APR_PREFETCH(p) ((void)(p))
#define APR_PREFETCH_L2(p) ((void)(p))
#define APR_UNROLL_2
#else
#define APR_INLINE static inline __attribute__((always_inline, unused))
#define APR_RESTRICT __restrict__
#define APR_NOINLINE __attribute__((noinline))
#define APR_PREFETCH(p) __builtin_prefetch(p)
#define APR_PREFETCH_L2(p) __builtin_prefetch(p, 0, 2) /* into L2 */
#if defined(__clang__)
#define APR_UNROLL _Pragma("clang loop unroll(full)")
#define APR_UNROLL_2 _Pragma("clang loop unroll_count(2)")
#else
#define APR_UNROLL _Pragma("GCC unroll 64")
#define APR_UNROLL_2 _Pragma("GCC unroll 2")
#endif
#endif

APR_INLINE float apr_float_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

APR_INLINE uint32_t apr_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

/* Exact for every float16 number, including subnormals, infinities and NaN: multiplying by 2^112 moves the exponent. */
APR_INLINE float apr_half_to_float(uint16_t h) {
    float magnitude = apr_float_from_bits((uint32_t)(h & 0x7fff) << 13) * apr_float_from_bits(0x77800000);
    uint32_t bits = apr_float_bits(magnitude);
    if ((h & 0x7c00) == 0x7c00) bits |= 0x7f800000;
    return apr_float_from_bits(bits | (uint32_t)(h & 0x8000) << 16);
}

/* Round to nearest, ties to even; overflow becomes infinity. */
APR_INLINE uint16_t apr_float_to_half(float x) {
    uint32_t bits = apr_float_bits(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* subnormal: the float adder rounds at 2^-24 */
        float shifted = apr_float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (apr_float_bits(shifted) - 0x3f000000));
    }
    return (uint16_t)(sign | ((magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13));
}

#endif
