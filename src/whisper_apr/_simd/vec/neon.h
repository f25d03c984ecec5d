/* aarch64's baseline: four lanes, thirty-two registers, fused multiply-add. */
#include "common.h"

#include <arm_neon.h>

#define VF_LANES 4
#define VF_TILE_ROWS 12 /* rows of a register block that is two vectors wide */
typedef float32x4_t vf;

APR_INLINE vf vf_zero(void) { return vdupq_n_f32(0.0f); }
APR_INLINE vf vf_set1(float x) { return vdupq_n_f32(x); }
APR_INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) {
    float lanes[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (n >= 4) return vf_load(p);
    for (ptrdiff_t i = 0; i < n; i++) lanes[i] = p[i];
    return vld1q_f32(lanes);
}
APR_INLINE vf vf_load_half(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
APR_INLINE void vf_store(float *p, vf x) { vst1q_f32(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) {
    float lanes[4];
    if (n >= 4) {
        vf_store(p, x);
        return;
    }
    vst1q_f32(lanes, x);
    for (ptrdiff_t i = 0; i < n; i++) p[i] = lanes[i];
}
APR_INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
APR_INLINE vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
APR_INLINE vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) {
    static const uint32_t bit[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), vld1q_u32(bit)));
}
APR_INLINE vf vf_round(vf x) { return vrndnq_f32(x); }
APR_INLINE vf vf_pow2(vf n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)); }
APR_INLINE float vf_sum(vf x) { return vaddvq_f32(x); }
APR_INLINE float vf_largest(vf x) { return vmaxvq_f32(x); }
