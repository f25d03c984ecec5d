/* AVX-512 F, BW, VL, DQ: sixteen lanes, thirty-two registers, masks for tails. README.md in this folder documents the
 * vocabulary. */
#ifndef WHISPER_APR_VEC_AVX512_H
#define WHISPER_APR_VEC_AVX512_H

#include "common.h"

#include <immintrin.h>

#define VF_LANES 16
#define VF_PACK_SPLAT 0
#define VF_TILE_ROWS 12
#define VF_HALF_COST 0       /* hidden behind the products on Zen 5 */
#define VF_LDEXP_MIN -200.0f /* the instruction scales by any power of two */
typedef __m512 vf;

APR_INLINE __mmask16 vf_tail_mask(ptrdiff_t n) { return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1); }
APR_INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
APR_INLINE vf vf_set1(float x) { return _mm512_set1_ps(x); }
APR_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) { return _mm512_maskz_loadu_ps(vf_tail_mask(n), p); }
APR_INLINE vf vf_load_half(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
#define VF_HAS_STORE_HALF
APR_INLINE void vf_store_half(uint16_t *p, vf x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
APR_INLINE void vf_store_int8(int8_t *p, vf x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
APR_INLINE void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) { _mm512_mask_storeu_ps(p, vf_tail_mask(n), x); }
APR_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
APR_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
APR_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
APR_INLINE vf vf_round(vf x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
APR_INLINE vf vf_ldexp(vf x, vf n) { return _mm512_scalef_ps(x, n); }
APR_INLINE float vf_reduce_add(vf x) { return _mm512_reduce_add_ps(x); }
APR_INLINE float vf_reduce_max(vf x) { return _mm512_reduce_max_ps(x); }
APR_INLINE void vf_transpose4(const float *a, ptrdiff_t step, float *out, ptrdiff_t out_stride) {
    __m128 r0 = _mm_loadu_ps(a), r1 = _mm_loadu_ps(a + step), r2 = _mm_loadu_ps(a + 2 * step),
           r3 = _mm_loadu_ps(a + 3 * step);
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    _mm_storeu_ps(out, r0);
    _mm_storeu_ps(out + out_stride, r1);
    _mm_storeu_ps(out + 2 * out_stride, r2);
    _mm_storeu_ps(out + 3 * out_stride, r3);
}

#if defined(APR_BFLOAT16)
/* ---- pairs of bfloat16 (targets/avx512bf16.c) ----
 * Two numbers per lane, rounded to nearest, ties to even. */
typedef __m512i vb;
APR_INLINE vb vb_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
APR_INLINE vb vb_set1(uint32_t pair) { return _mm512_set1_epi32((int32_t)pair); }
APR_INLINE void vb_store(uint32_t *p, vb x) { _mm512_storeu_si512(p, x); }
APR_INLINE vf vb_dot(vf acc, vb a, vb b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
APR_INLINE vb vb_from_floats(vf low, vf high) { return (vb)_mm512_cvtne2ps_pbh(high, low); }
/* words 0, 16, 1, 17, ... of the rounded vectors */
APR_INLINE vb vb_interleave(vf first, vf second) {
    __m512i seconds_up =
        _mm512_set_epi32(0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a, 0x190009, 0x180008, 0x170007,
                         0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
    return _mm512_permutexvar_epi16(seconds_up, vb_from_floats(first, second));
}
#endif

/* ---- quantized products ----
 * With VNNI (targets/avx512vnni.c), one instruction sums four products of an unsigned and a signed byte. int8 inputs
 * become unsigned by adding a zero point of 128, whose contribution the row sums of the weights cancel; int4 weights
 * are stored unsigned. Without VNNI: as avx2.h. */

typedef __m512i vi, vq, vq_input, v4;
typedef int8_t v4_element;
#define VQ_TILE_ROWS 12
#define V4_TILE_ROWS 12
#define V4_PARTS 1

APR_INLINE vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
APR_INLINE vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
APR_INLINE void vi_store(int32_t *p, vi x) { _mm512_storeu_si512(p, x); }
APR_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
APR_INLINE vi vi_shift_left(vi x, int n) { return _mm512_slli_epi32(x, (unsigned)n); }
APR_INLINE vf vf_from_int(vi x) { return _mm512_cvtepi32_ps(x); }
APR_INLINE void v4_store(v4_element *p, vf x) { vf_store_int8(p, x); }
APR_INLINE v4 v4_load_input(const v4_element *p) {
    int32_t quad;
    memcpy(&quad, p, 4);
    return _mm512_set1_epi32(quad);
}
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    __m512i x = _mm512_loadu_si512(p + 64 * part);
    return _mm512_and_si512(high ? _mm512_srli_epi16(x, 4) : x, _mm512_set1_epi8(15));
}
#if defined(APR_VNNI)
typedef uint8_t vq_element;
#define VQ_TILE_VECTORS 2
#define VQ_PARTS 1
APR_INLINE void vq_store(vq_element *p, vf x) {
    __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(128));
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(whole));
}
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    int32_t quad;
    memcpy(&quad, p, 4);
    return _mm512_set1_epi32(quad);
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) { return _mm512_loadu_si512(p + 64 * part); }
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return _mm512_dpbusd_epi32(acc, x, w); }
/* Keys have no row sums, so the zero point is added to the keys and the input stays signed. */
#define VQ_KEY_ZERO_POINT 128
APR_INLINE vq vq_load_key(const int8_t *p, int part) {
    return _mm512_xor_si512(vq_load_weight(p, part), _mm512_set1_epi8(-128));
}
APR_INLINE vi vq_dot_key(vi acc, vq key, vq_input x) { return _mm512_dpbusd_epi32(acc, key, x); }
APR_INLINE vi vq_merge_parts(vi a, vi b) { return (void)b, a; }
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) {
    return _mm512_sub_epi32(sum, _mm512_slli_epi32(vi_load(sums), 7));
}
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return _mm512_dpbusd_epi32(acc, w, x); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return (void)b, a; }
#else
typedef int16_t vq_element;
#define VQ_TILE_VECTORS 1
#define VQ_PARTS 2
APR_INLINE void vq_store(vq_element *p, vf x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
}
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    int64_t quad;
    memcpy(&quad, p, 8);
    return _mm512_set1_epi64(quad);
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * part)));
}
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return _mm512_add_epi32(acc, _mm512_madd_epi16(w, x)); }
APR_INLINE vi vq_merge_parts(vi a, vi b) {
    __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_permutex2var_epi32(a, even, b), _mm512_permutex2var_epi32(a, odd, b));
}
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) { return (void)sums, sum; }
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return _mm512_add_epi16(acc, _mm512_maddubs_epi16(w, x)); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return (void)b, _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }
#endif

#endif
