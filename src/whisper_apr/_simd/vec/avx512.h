/* AVX-512 F, BW, VL, DQ: sixteen lanes, thirty-two registers, masks for the tails. */
#include "common.h"

#include <immintrin.h>

#define VF_LANES 16
#define VF_TILE_ROWS 12 /* rows of a register block that is two vectors wide */
typedef __m512 vf;

APR_INLINE __mmask16 vf_first(ptrdiff_t n) { return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1); }
APR_INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
APR_INLINE vf vf_set1(float x) { return _mm512_set1_ps(x); }
APR_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) { return _mm512_maskz_loadu_ps(vf_first(n), p); }
APR_INLINE vf vf_load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
APR_INLINE void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) { _mm512_mask_storeu_ps(p, vf_first(n), x); }
APR_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
APR_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
APR_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes); }
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
APR_INLINE vf vf_round(vf x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
APR_INLINE vf vf_pow2(vf n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
APR_INLINE float vf_sum(vf x) { return _mm512_reduce_add_ps(x); }
APR_INLINE float vf_largest(vf x) { return _mm512_reduce_max_ps(x); }
