/* Plain C, one lane: the reference. Built without auto-vectorization, so that it remains scalar. README.md in this
 * folder documents the vocabulary. */
#ifndef WHISPER_APR_VEC_SCALAR_H
#define WHISPER_APR_VEC_SCALAR_H

#include "common.h"

#include <math.h>

#define VF_LANES 1
#define VF_PACK_SPLAT 0
#define VF_TILE_ROWS 4
#define VF_HALF_COST 1
#define VF_LDEXP_MIN -127.0f
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
APR_INLINE vf vf_round(vf x) { return x + 12582912.0f - 12582912.0f; } /* adds and subtracts 1.5 * 2^23 */
APR_INLINE vf vf_ldexp(vf x, vf n) { return x * apr_float_from_bits((uint32_t)((int32_t)n + 127) << 23); }
APR_INLINE void vf_store_int8(int8_t *p, vf x) { *p = (int8_t)vf_round(x); }
APR_INLINE float vf_reduce_add(vf x) { return x; }
APR_INLINE float vf_reduce_max(vf x) { return x; }
APR_INLINE void vf_transpose4(const float *a, ptrdiff_t step, float *out, ptrdiff_t out_stride) {
    for (int i = 0; i < 4; i++)
        for (int s = 0; s < 4; s++) out[s * out_stride + i] = a[i * step + s];
}

/* ---- quantized products ---- */

typedef int32_t vi;
typedef struct {
    int8_t at[4];
} vq, vq_input, v4;
typedef int8_t vq_element, v4_element;
#define VQ_TILE_ROWS 4
#define VQ_TILE_VECTORS 1
#define VQ_PARTS 1
#define V4_TILE_ROWS 4
#define V4_PARTS 1

APR_INLINE vi vi_set1(int32_t x) { return x; }
APR_INLINE vi vi_load(const int32_t *p) { return *p; }
APR_INLINE void vi_store(int32_t *p, vi x) { *p = x; }
APR_INLINE vi vi_add(vi a, vi b) { return (vi)((uint32_t)a + (uint32_t)b); }
APR_INLINE vi vi_shift_left(vi x, int n) { return (vi)((uint32_t)x << n); }
APR_INLINE vf vf_from_int(vi x) { return (float)x; }
APR_INLINE void vq_store(vq_element *p, vf x) { vf_store_int8(p, x); }
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    vq x;
    memcpy(&x, p, 4);
    return x;
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) { return (void)part, vq_load_input(p); }
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) {
    return acc + w.at[0] * x.at[0] + w.at[1] * x.at[1] + w.at[2] * x.at[2] + w.at[3] * x.at[3];
}
APR_INLINE vi vq_merge_parts(vi a, vi b) { return (void)b, a; }
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) { return (void)sums, sum; }
APR_INLINE void v4_store(v4_element *p, vf x) { vq_store(p, x); }
APR_INLINE v4 v4_load_input(const v4_element *p) { return vq_load_input(p); }
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    v4 w;
    (void)part;
    for (int i = 0; i < 4; i++) w.at[i] = (int8_t)(high ? p[i] >> 4 : p[i] & 15);
    return w;
}
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return vq_dot(acc, w, x); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return (void)b, a; }

#endif
