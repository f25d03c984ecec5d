/* The aarch64 baseline: four lanes, thirty-two registers, fused multiply-add. README.md in this folder documents the
 * vocabulary. */
#ifndef WHISPER_APR_VEC_NEON_H
#define WHISPER_APR_VEC_NEON_H

#include "common.h"

#include <arm_neon.h>

#define VF_LANES 4
#define VF_PACK_SPLAT 0
#define VF_TILE_ROWS 12
#define VF_HALF_COST 1 /* one conversion instruction per load */
#define VF_LDEXP_MIN -127.0f
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
#define VF_HAS_STORE_HALF
APR_INLINE void vf_store_half(uint16_t *p, vf x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
APR_INLINE void vf_store_int8(int8_t *p, vf x) {
    int16x4_t narrow = vmovn_s32(vcvtnq_s32_f32(x));
    int32_t quad = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(narrow, narrow))), 0);
    memcpy(p, &quad, 4);
}
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
APR_INLINE vf vf_ldexp(vf x, vf n) {
    return vf_mul(x, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)));
}
APR_INLINE float vf_reduce_add(vf x) { return vaddvq_f32(x); }
APR_INLINE float vf_reduce_max(vf x) { return vmaxvq_f32(x); }
APR_INLINE void vf_transpose4(const float *a, ptrdiff_t step, float *out, ptrdiff_t out_stride) {
    float32x4x2_t top = vtrnq_f32(vld1q_f32(a), vld1q_f32(a + step)),
                  bottom = vtrnq_f32(vld1q_f32(a + 2 * step), vld1q_f32(a + 3 * step));
    vst1q_f32(out, vcombine_f32(vget_low_f32(top.val[0]), vget_low_f32(bottom.val[0])));
    vst1q_f32(out + out_stride, vcombine_f32(vget_low_f32(top.val[1]), vget_low_f32(bottom.val[1])));
    vst1q_f32(out + 2 * out_stride, vcombine_f32(vget_high_f32(top.val[0]), vget_high_f32(bottom.val[0])));
    vst1q_f32(out + 3 * out_stride, vcombine_f32(vget_high_f32(top.val[1]), vget_high_f32(bottom.val[1])));
}

#if defined(APR_BFLOAT16)
/* ---- bfloat16 products ---- */

typedef bfloat16x8_t vb;
APR_INLINE vb vb_load(const uint32_t *p) { return vreinterpretq_bf16_u32(vld1q_u32(p)); }
APR_INLINE vb vb_set1(uint32_t pair) { return vreinterpretq_bf16_u32(vdupq_n_u32(pair)); }
APR_INLINE void vb_store(uint32_t *p, vb x) { vst1q_u32(p, vreinterpretq_u32_bf16(x)); }
APR_INLINE vf vb_dot(vf acc, vb a, vb b) { return vbfdotq_f32(acc, a, b); }
APR_INLINE vb vb_from_floats(vf low, vf high) { return vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low), high); }
APR_INLINE vb vb_interleave(vf first, vf second) {
    uint16x8_t both = vreinterpretq_u16_bf16(vb_from_floats(first, second));
    return vreinterpretq_bf16_u16(vzip1q_u16(both, vextq_u16(both, both, 4)));
}
#endif

/* ---- quantized products ----
 * The dot product where it is available (targets/neondot.c, Apple's compiler). Otherwise a widening product whose
 * pairs are accumulated, which leaves each output's sum in two adjacent lanes. */

typedef int32x4_t vi;
typedef int8_t vq_element, v4_element;
#define VQ_TILE_ROWS 12
#define V4_TILE_ROWS 8

APR_INLINE vi vi_set1(int32_t x) { return vdupq_n_s32(x); }
APR_INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
APR_INLINE void vi_store(int32_t *p, vi x) { vst1q_s32(p, x); }
APR_INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
APR_INLINE vi vi_shift_left(vi x, int n) { return vshlq_s32(x, vdupq_n_s32(n)); }
APR_INLINE vf vf_from_int(vi x) { return vcvtq_f32_s32(x); }
APR_INLINE void vq_store(vq_element *p, vf x) { vf_store_int8(p, x); }
APR_INLINE void v4_store(v4_element *p, vf x) { vq_store(p, x); }
#if defined(__ARM_FEATURE_DOTPROD)
typedef int8x16_t vq, vq_input, v4;
#define VQ_TILE_VECTORS 2
#define VQ_PARTS 1
#define V4_PARTS 1
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    int32_t quad;
    memcpy(&quad, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) { return vld1q_s8(p + 16 * part); }
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return vdotq_s32(acc, w, x); }
APR_INLINE vi vq_merge_parts(vi a, vi b) { return (void)b, a; }
#if defined(APR_I8MM)
#define VQ_PAIRS 1
APR_INLINE vq vq_pair_weights(vq first, vq second, int half) {
    int32x4_t a = vreinterpretq_s32_s8(first), b = vreinterpretq_s32_s8(second);
    return vreinterpretq_s8_s32(half ? vzip2q_s32(a, b) : vzip1q_s32(a, b));
}
APR_INLINE vq_input vq_load_pair(const vq_element *p) { return vld1q_s8(p); }
APR_INLINE vq_input vq_load_half_pair(const vq_element *p) { return vcombine_s8(vld1_s8(p), vdup_n_s8(0)); }
APR_INLINE vi vq_pair_dot(vi acc, vq w, vq_input x) { return vmmlaq_s32(acc, x, w); }
APR_INLINE vi vq_pair_line(vi a, vi b, int line) {
    return line ? vcombine_s32(vget_high_s32(a), vget_high_s32(b)) : vcombine_s32(vget_low_s32(a), vget_low_s32(b));
}
#endif
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    uint8x16_t x = vld1q_u8(p + 16 * part);
    return vreinterpretq_s8_u8(high ? vshrq_n_u8(x, 4) : vandq_u8(x, vdupq_n_u8(15)));
}
#else
typedef int8x8_t vq, vq_input, v4;
#define VQ_TILE_VECTORS 1
#define VQ_PARTS 2
#define V4_PARTS 2
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    int32_t quad;
    memcpy(&quad, p, 4);
    return vreinterpret_s8_s32(vdup_n_s32(quad));
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) { return vld1_s8(p + 8 * part); }
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return vpadalq_s16(acc, vmull_s8(w, x)); }
APR_INLINE vi vq_merge_parts(vi a, vi b) { return vpaddq_s32(a, b); }
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    uint8x8_t x = vld1_u8(p + 8 * part);
    return vreinterpret_s8_u8(high ? vshr_n_u8(x, 4) : vand_u8(x, vdup_n_u8(15)));
}
#endif
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) { return (void)sums, sum; }
APR_INLINE v4 v4_load_input(const v4_element *p) { return vq_load_input(p); }
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return vq_dot(acc, w, x); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return vq_merge_parts(a, b); }

#endif
