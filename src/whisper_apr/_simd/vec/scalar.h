/* Plain C, one lane: the reference. Built without auto-vectorisation, so that it stays what it says. */
#include "common.h"

#include <math.h>

#define VF_LANES 1
#define VF_TILE_ROWS 4 /* rows of a register block that is two vectors wide */
typedef float vf;

APR_INLINE vf vf_zero(void) { return 0.0f; }
APR_INLINE vf vf_set1(float x) { return x; }
APR_INLINE vf vf_load(const float *p) { return *p; }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) { return n > 0 ? *p : 0.0f; }
APR_INLINE vf vf_load_half(const uint16_t *p) { return apr_half_to_float(*p); }
APR_INLINE void vf_store(float *p, vf x) { *p = x; }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) {
    if (n > 0) *p = x;
}
APR_INLINE vf vf_add(vf a, vf b) { return a + b; }
APR_INLINE vf vf_sub(vf a, vf b) { return a - b; }
APR_INLINE vf vf_mul(vf a, vf b) { return a * b; }
APR_INLINE vf vf_div(vf a, vf b) { return a / b; }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
APR_INLINE vf vf_max(vf a, vf b) { return a > b ? a : b; }
APR_INLINE vf vf_min(vf a, vf b) { return a < b ? a : b; }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) { return a < b ? yes : no; }
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return a == b; }
APR_INLINE vf vf_round(vf x) { return x + 12582912.0f - 12582912.0f; } /* 1.5 * 2^23; |x| < 2^22 */
APR_INLINE vf vf_pow2(vf n) { return apr_from_bits((uint32_t)((int32_t)n + 127) << 23); }
APR_INLINE float vf_sum(vf x) { return x; }
APR_INLINE float vf_largest(vf x) { return x; }
