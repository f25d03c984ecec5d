/* AVX2 with FMA and F16C: eight lanes. */
#include "common.h"

#include <immintrin.h>

#define VF_LANES 8
#define VF_TILE_ROWS 6 /* rows of a register block that is two vectors wide */
typedef __m256 vf;

APR_INLINE __m256i vf_first(ptrdiff_t n) { /* a mask of the first n lanes */
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
APR_INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
APR_INLINE vf vf_set1(float x) { return _mm256_set1_ps(x); }
APR_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) { return n >= 8 ? vf_load(p) : _mm256_maskload_ps(p, vf_first(n)); }
APR_INLINE vf vf_load_half(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
APR_INLINE void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) {
    if (n >= 8) vf_store(p, x);
    else _mm256_maskstore_ps(p, vf_first(n), x);
}
APR_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
APR_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
APR_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)); }
APR_INLINE vf vf_round(vf x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
APR_INLINE vf vf_pow2(vf n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
APR_INLINE float vf_sum(vf x) {
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
APR_INLINE float vf_largest(vf x) {
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}
