/* x86-64's baseline: four lanes, no fused multiply-add. */
#include "common.h"

#include <emmintrin.h>

#define VF_LANES 4
#define VF_TILE_ROWS 4 /* rows of a register block that is two vectors wide */
typedef __m128 vf;

APR_INLINE vf vf_zero(void) { return _mm_setzero_ps(); }
APR_INLINE vf vf_set1(float x) { return _mm_set1_ps(x); }
APR_INLINE vf vf_load(const float *p) { return _mm_loadu_ps(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) {
    if (n >= 4) return vf_load(p);
    if (n == 3) return _mm_movelh_ps(_mm_castpd_ps(_mm_load_sd((const double *)(const void *)p)), _mm_load_ss(p + 2));
    if (n == 2) return _mm_castpd_ps(_mm_load_sd((const double *)(const void *)p));
    return n == 1 ? _mm_load_ss(p) : _mm_setzero_ps();
}
APR_INLINE vf vf_load_half(const uint16_t *p) {
    __m128i h = _mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p), _mm_setzero_si128());
    __m128i magnitude = _mm_slli_epi32(_mm_and_si128(h, _mm_set1_epi32(0x7fff)), 13);
    __m128i sign = _mm_slli_epi32(_mm_and_si128(h, _mm_set1_epi32(0x8000)), 16);
    __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32((0x7c00 << 13) - 1));
    __m128 scaled = _mm_mul_ps(_mm_castsi128_ps(magnitude), _mm_castsi128_ps(_mm_set1_epi32(0x77800000)));
    __m128i extra = _mm_or_si128(sign, _mm_and_si128(special, _mm_set1_epi32(0x7f800000)));
    return _mm_or_ps(scaled, _mm_castsi128_ps(extra));
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
APR_INLINE vf vf_pow2(vf n) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127)), 23)); }
APR_INLINE float vf_sum(vf x) {
    __m128 y = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
APR_INLINE float vf_largest(vf x) {
    __m128 y = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}
