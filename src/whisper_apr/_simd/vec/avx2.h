/* AVX2 with FMA and F16C: eight lanes. README.md in this folder documents the vocabulary. */
#ifndef WHISPER_APR_VEC_AVX2_H
#define WHISPER_APR_VEC_AVX2_H

#include "common.h"

#include <immintrin.h>

#define VF_LANES 8
#define VF_PACK_SPLAT 0
#define VF_TILE_ROWS 6
#define VF_HALF_COST 1 /* one conversion instruction per load */
#define VF_LDEXP_MIN -127.0f
typedef __m256 vf;

APR_INLINE __m256i vf_tail_mask(ptrdiff_t n) { /* a mask of the first n lanes */
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
APR_INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
APR_INLINE vf vf_set1(float x) { return _mm256_set1_ps(x); }
APR_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) {
    return n >= 8 ? vf_load(p) : _mm256_maskload_ps(p, vf_tail_mask(n));
}
APR_INLINE vf vf_load_half(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
#define VF_HAS_STORE_HALF
APR_INLINE void vf_store_half(uint16_t *p, vf x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
APR_INLINE __m128i vf_to_int16(vf x) { /* rounded to nearest, ties to even */
    __m256i whole = _mm256_cvtps_epi32(x);
    return _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
}
APR_INLINE void vf_store_int8(int8_t *p, vf x) {
    __m128i narrow = vf_to_int16(x);
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(narrow, narrow));
}
APR_INLINE void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) {
    if (n >= 8) vf_store(p, x);
    else _mm256_maskstore_ps(p, vf_tail_mask(n), x);
}
APR_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
APR_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
APR_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)); }
APR_INLINE vf vf_round(vf x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
APR_INLINE vf vf_ldexp(vf x, vf n) {
    __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return vf_mul(x, _mm256_castsi256_ps(power));
}
APR_INLINE float vf_reduce_add(vf x) {
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
APR_INLINE float vf_reduce_max(vf x) {
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}
APR_INLINE void vf_transpose4(const float *a, ptrdiff_t step, float *out, ptrdiff_t out_stride) {
    __m128 r0 = _mm_loadu_ps(a), r1 = _mm_loadu_ps(a + step), r2 = _mm_loadu_ps(a + 2 * step),
           r3 = _mm_loadu_ps(a + 3 * step);
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    _mm_storeu_ps(out, r0);
    _mm_storeu_ps(out + out_stride, r1);
    _mm_storeu_ps(out + 2 * out_stride, r2);
    _mm_storeu_ps(out + 3 * out_stride, r3);
}

/* ---- quantized products ----
 * With VNNI (targets/avx2vnni.c), as avx512.h: one instruction sums four products of an unsigned and a signed byte, and
 * int8 inputs have a zero point of 128. Without it:
 * int8: widened to int16 for pmaddwd, which leaves each output's sum in two adjacent lanes; pmaddubsw would saturate.
 * int4: 0..15 times -127..127, with pairs summed by pmaddubsw: the 16 products of a group in an int16 lane stay below
 * 16 * 15 * 127. */

typedef __m256i vi, vq, vq_input, v4;
typedef int8_t v4_element;
#define VQ_TILE_ROWS 6
#define V4_TILE_ROWS 4
#define V4_PARTS 1

APR_INLINE vi vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
APR_INLINE vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
APR_INLINE void vi_store(int32_t *p, vi x) { _mm256_storeu_si256((__m256i *)(void *)p, x); }
APR_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
APR_INLINE vi vi_shift_left(vi x, int n) { return _mm256_slli_epi32(x, n); }
APR_INLINE vf vf_from_int(vi x) { return _mm256_cvtepi32_ps(x); }
/* Pairs of 16-bit integers. */
#define VI_PAIRS 1
APR_INLINE vi vi_pack_pairs(vf low, vf high) {
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high)), 0xd8);
}
APR_INLINE vi vi_interleave_pairs(vf first, vf second) {
    return _mm256_blend_epi16(_mm256_cvtps_epi32(first), _mm256_slli_epi32(_mm256_cvtps_epi32(second), 16), 0xaa);
}
APR_INLINE vi vi_dot_pairs(vi acc, vi a, vi b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
APR_INLINE void v4_store(v4_element *p, vf x) { vf_store_int8(p, x); }
APR_INLINE v4 v4_load_input(const v4_element *p) {
    int32_t quad;
    memcpy(&quad, p, 4);
    return _mm256_set1_epi32(quad);
}
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * part));
    return _mm256_and_si256(high ? _mm256_srli_epi16(x, 4) : x, _mm256_set1_epi8(15));
}
#if defined(APR_VNNI)
typedef uint8_t vq_element;
#define VQ_TILE_VECTORS 2
#define VQ_PARTS 1
APR_INLINE void vq_store(vq_element *p, vf x) {
    __m128i shifted = _mm_add_epi16(vf_to_int16(x), _mm_set1_epi16(128));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(shifted, shifted));
}
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    int32_t quad;
    memcpy(&quad, p, 4);
    return _mm256_set1_epi32(quad);
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) {
    return _mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * part));
}
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return _mm256_dpbusd_avx_epi32(acc, x, w); }
/* Keys have no row sums, so the zero point is added to the keys and the input stays signed. */
#define VQ_KEY_ZERO_POINT 128
APR_INLINE vq vq_load_key(const int8_t *p, int part) {
    return _mm256_xor_si256(vq_load_weight(p, part), _mm256_set1_epi8(-128));
}
APR_INLINE vi vq_dot_key(vi acc, vq key, vq_input x) { return _mm256_dpbusd_avx_epi32(acc, key, x); }
APR_INLINE vi vq_merge_parts(vi a, vi b) { return (void)b, a; }
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) {
    return _mm256_sub_epi32(sum, _mm256_slli_epi32(vi_load(sums), 7));
}
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return _mm256_dpbusd_avx_epi32(acc, w, x); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return (void)b, a; }
#else
typedef int16_t vq_element;
#define VQ_TILE_VECTORS 1
#define VQ_PARTS 2
APR_INLINE void vq_store(vq_element *p, vf x) { _mm_storeu_si128((__m128i *)(void *)p, vf_to_int16(x)); }
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    int64_t quad;
    memcpy(&quad, p, 8);
    return _mm256_set1_epi64x(quad);
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * part)));
}
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)); }
APR_INLINE vi vq_merge_parts(vi a, vi b) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8); }
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) { return (void)sums, sum; }
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return _mm256_add_epi16(acc, _mm256_maddubs_epi16(w, x)); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return (void)b, _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }
#endif

#endif
