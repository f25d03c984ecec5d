/* The x86-64 baseline: four lanes, no fused multiply-add. README.md in this folder documents the vocabulary. */
#ifndef WHISPER_APR_VEC_SSE2_H
#define WHISPER_APR_VEC_SSE2_H

#include "common.h"

#include <emmintrin.h>

#define VF_LANES 4
#define VF_PACK_SPLAT 1 /* saves the broadcast in the inner loop */
#define VF_TILE_ROWS 4
#define VF_HALF_COST 2 /* many instructions per load */
#define VF_LDEXP_MIN -127.0f
typedef __m128 vf;

APR_INLINE vf vf_zero(void) { return _mm_setzero_ps(); }
APR_INLINE vf vf_set1(float x) { return _mm_set1_ps(x); }
APR_INLINE vf vf_load(const float *p) { return _mm_loadu_ps(p); }
APR_INLINE vf vf_load_pair(const float *p) {
    return _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p));
}
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) {
    if (n >= 4) return vf_load(p);
    if (n == 3) return _mm_movelh_ps(vf_load_pair(p), _mm_load_ss(p + 2));
    if (n == 2) return vf_load_pair(p);
    return n == 1 ? _mm_load_ss(p) : _mm_setzero_ps();
}
/* As apr_half_to_float, but an arithmetic shift moves the sign too; its copies are masked out. */
APR_INLINE vf vf_load_half(const uint16_t *p) {
    __m128i h = _mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)(const void *)p));
    __m128i moved = _mm_and_si128(_mm_srai_epi32(h, 3), _mm_set1_epi32((int)0x8fffffff)),
            top = _mm_set1_epi32(0x0f800000);
    __m128i special = _mm_and_si128(_mm_cmpeq_epi32(_mm_and_si128(moved, top), top), _mm_set1_epi32(0x7f800000));
    __m128 scaled = _mm_mul_ps(_mm_castsi128_ps(moved), _mm_castsi128_ps(_mm_set1_epi32(0x77800000)));
    return _mm_or_ps(scaled, _mm_castsi128_ps(special));
}
APR_INLINE void vf_store_int8(int8_t *p, vf x) {
    __m128i whole = _mm_cvtps_epi32(x), narrow = _mm_packs_epi32(whole, whole);
    int32_t quad = _mm_cvtsi128_si32(_mm_packs_epi16(narrow, narrow));
    memcpy(p, &quad, 4);
}
APR_INLINE void vf_store(float *p, vf x) { _mm_storeu_ps(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) {
    float lanes[4];
    if (n >= 4) {
        vf_store(p, x);
        return;
    }
    _mm_storeu_ps(lanes, x);
    for (ptrdiff_t i = 0; i < n; i++) p[i] = lanes[i];
}
APR_INLINE vf vf_add(vf a, vf b) { return _mm_add_ps(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return _mm_sub_ps(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return _mm_mul_ps(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return _mm_div_ps(a, b); }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
APR_INLINE vf vf_max(vf a, vf b) { return _mm_max_ps(a, b); }
APR_INLINE vf vf_min(vf a, vf b) { return _mm_min_ps(a, b); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) {
    __m128 mask = _mm_cmplt_ps(a, b);
    return _mm_or_ps(_mm_and_ps(mask, yes), _mm_andnot_ps(mask, no));
}
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return (uint32_t)_mm_movemask_ps(_mm_cmpeq_ps(a, b)); }
APR_INLINE vf vf_round(vf x) { return _mm_cvtepi32_ps(_mm_cvtps_epi32(x)); }
APR_INLINE vf vf_ldexp(vf x, vf n) {
    return vf_mul(x, _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127)), 23)));
}
APR_INLINE float vf_reduce_add(vf x) {
    __m128 y = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
APR_INLINE float vf_reduce_max(vf x) {
    __m128 y = _mm_max_ps(x, _mm_movehl_ps(x, x));
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
 * Widened to int16 for pmaddwd, which leaves each output's sum in two adjacent lanes. */

typedef __m128i vi, vq, vq_input, v4;
typedef int16_t vq_element, v4_element;
#define VQ_TILE_ROWS 6
#define VQ_TILE_VECTORS 1
#define VQ_PARTS 2
#define V4_TILE_ROWS 3
#define V4_PARTS 2

APR_INLINE vi vi_set1(int32_t x) { return _mm_set1_epi32(x); }
APR_INLINE vi vi_load(const int32_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
APR_INLINE void vi_store(int32_t *p, vi x) { _mm_storeu_si128((__m128i *)(void *)p, x); }
APR_INLINE vi vi_add(vi a, vi b) { return _mm_add_epi32(a, b); }
APR_INLINE vi vi_shift_left(vi x, int n) { return _mm_slli_epi32(x, n); }
APR_INLINE vf vf_from_int(vi x) { return _mm_cvtepi32_ps(x); }
APR_INLINE void vq_store(vq_element *p, vf x) {
    __m128i whole = _mm_cvtps_epi32(x);
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi32(whole, whole));
}
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return _mm_unpacklo_epi64(x, x);
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) {
    __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)(p + 8 * part));
    return _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
}
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return _mm_add_epi32(acc, _mm_madd_epi16(w, x)); }
APR_INLINE vi vq_merge_parts(vi a, vi b) {
    __m128 x = _mm_castsi128_ps(a), y = _mm_castsi128_ps(b);
    return _mm_add_epi32(_mm_castps_si128(_mm_shuffle_ps(x, y, 0x88)), _mm_castps_si128(_mm_shuffle_ps(x, y, 0xdd)));
}
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) { return (void)sums, sum; }
APR_INLINE void v4_store(v4_element *p, vf x) { vq_store(p, x); }
APR_INLINE v4 v4_load_input(const v4_element *p) { return vq_load_input(p); }
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    __m128i x = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8 * part)), _mm_setzero_si128());
    return high ? _mm_srli_epi16(x, 4) : _mm_and_si128(x, _mm_set1_epi16(15));
}
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return vq_dot(acc, w, x); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return vq_merge_parts(a, b); }

#endif
