/* WebAssembly simd128: four lanes; V8 keeps sixteen vectors in registers. Relaxed SIMD (targets/wasm128relaxed.c) adds
 * a multiply-add, which is fused where the CPU can do that, and a dot product of bytes. README.md in this folder
 * documents the vocabulary. */
#ifndef WHISPER_APR_VEC_WASM128_H
#define WHISPER_APR_VEC_WASM128_H

#include "common.h"

#include <wasm_simd128.h>

#define VF_LANES 4
#define VF_PACK_SPLAT 0
#define VF_TILE_ROWS 4
#define VF_HALF_COST 2 /* many instructions per load */
#define VF_LDEXP_MIN -127.0f
typedef v128_t vf;

APR_INLINE vf vf_zero(void) { return wasm_f32x4_splat(0.0f); }
APR_INLINE vf vf_set1(float x) { return wasm_f32x4_splat(x); }
APR_INLINE vf vf_load(const float *p) { return wasm_v128_load(p); }
APR_INLINE vf vf_load_n(const float *p, ptrdiff_t n) {
    float lanes[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (n >= 4) return vf_load(p);
    for (ptrdiff_t i = 0; i < n; i++) lanes[i] = p[i];
    return wasm_v128_load(lanes);
}
/* Sign, exponent and fraction are shifted to their float32 positions (copies of the sign are masked out) and
 * multiplied by 2^(127 - 15), which is exact for subnormals too. Infinity and NaN then are at least 2^16 and get the
 * all-ones exponent. */
APR_INLINE vf vf_load_half(const uint16_t *p) {
    v128_t moved =
        wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4((const int16_t *)p), 13), wasm_i32x4_splat((int)0x8fffe000));
    v128_t scaled = wasm_f32x4_mul(moved, wasm_i32x4_splat(0x77800000));
    v128_t special = wasm_f32x4_ge(wasm_f32x4_abs(scaled), wasm_f32x4_splat(65536.0f));
    return wasm_v128_or(scaled, wasm_v128_and(special, wasm_i32x4_splat(0x7f800000)));
}
APR_INLINE void vf_store_int8(int8_t *p, vf x) {
    v128_t whole = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(x)), narrow = wasm_i16x8_narrow_i32x4(whole, whole);
    wasm_v128_store32_lane(p, wasm_i8x16_narrow_i16x8(narrow, narrow), 0);
}
APR_INLINE void vf_store(float *p, vf x) { wasm_v128_store(p, x); }
APR_INLINE void vf_store_n(float *p, vf x, ptrdiff_t n) {
    float lanes[4];
    if (n >= 4) {
        vf_store(p, x);
        return;
    }
    wasm_v128_store(lanes, x);
    for (ptrdiff_t i = 0; i < n; i++) p[i] = lanes[i];
}
APR_INLINE vf vf_add(vf a, vf b) { return wasm_f32x4_add(a, b); }
APR_INLINE vf vf_sub(vf a, vf b) { return wasm_f32x4_sub(a, b); }
APR_INLINE vf vf_mul(vf a, vf b) { return wasm_f32x4_mul(a, b); }
APR_INLINE vf vf_div(vf a, vf b) { return wasm_f32x4_div(a, b); }
#if defined(__wasm_relaxed_simd__)
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
#endif
APR_INLINE vf vf_max(vf a, vf b) { return wasm_f32x4_pmax(b, a); }
APR_INLINE vf vf_min(vf a, vf b) { return wasm_f32x4_pmin(b, a); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) { return wasm_v128_bitselect(yes, no, wasm_f32x4_lt(a, b)); }
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return wasm_i32x4_bitmask(wasm_f32x4_eq(a, b)); }
APR_INLINE vf vf_round(vf x) { return wasm_f32x4_nearest(x); }
APR_INLINE vf vf_ldexp(vf x, vf n) {
    return vf_mul(x, wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127)), 23));
}
APR_INLINE float vf_reduce_add(vf x) {
    return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 2)) +
           (wasm_f32x4_extract_lane(x, 1) + wasm_f32x4_extract_lane(x, 3));
}
APR_INLINE float vf_reduce_max(vf x) {
    v128_t y = wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 2, 3, 0, 1));
    v128_t z = wasm_f32x4_pmax(y, wasm_i32x4_shuffle(y, y, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(z, 0);
}
APR_INLINE void vf_transpose4(const float *a, ptrdiff_t step, float *out, ptrdiff_t out_stride) {
    vf r0 = vf_load(a), r1 = vf_load(a + step), r2 = vf_load(a + 2 * step), r3 = vf_load(a + 3 * step);
    vf low01 = wasm_i32x4_shuffle(r0, r1, 0, 4, 1, 5), high01 = wasm_i32x4_shuffle(r0, r1, 2, 6, 3, 7);
    vf low23 = wasm_i32x4_shuffle(r2, r3, 0, 4, 1, 5), high23 = wasm_i32x4_shuffle(r2, r3, 2, 6, 3, 7);
    vf_store(out, wasm_i64x2_shuffle(low01, low23, 0, 2));
    vf_store(out + out_stride, wasm_i64x2_shuffle(low01, low23, 1, 3));
    vf_store(out + 2 * out_stride, wasm_i64x2_shuffle(high01, high23, 0, 2));
    vf_store(out + 3 * out_stride, wasm_i64x2_shuffle(high01, high23, 1, 3));
}

/* ---- quantized products ----
 * Widened to int16 for the dot product of pairs, which leaves each output's sum in two adjacent lanes.
 *
 * The dot product of relaxed SIMD is the same everywhere only if its second operand is from 0 to 127. So the inputs'
 * magnitudes are multiplied with the weights, whose bits are inverted for negative inputs: ~w is -w - 1, and
 * sum(|x| ~w) is sum(x w) - sum(|x|) over those. This bias does not depend on the weights. A quad of inputs is stored
 * as four magnitudes and four masks of negative ones. */

typedef v128_t vi, vq, v4;

APR_INLINE vi vi_set1(int32_t x) { return wasm_i32x4_splat(x); }
APR_INLINE vi vi_load(const int32_t *p) { return wasm_v128_load(p); }
APR_INLINE void vi_store(int32_t *p, vi x) { wasm_v128_store(p, x); }
APR_INLINE vi vi_add(vi a, vi b) { return wasm_i32x4_add(a, b); }
APR_INLINE vi vi_shift_left(vi x, int n) { return wasm_i32x4_shl(x, (uint32_t)n); }
APR_INLINE vf vf_from_int(vi x) { return wasm_f32x4_convert_i32x4(x); }
#if defined(__wasm_relaxed_simd__)
typedef struct {
    v128_t magnitude, negative;
} vq_input;
typedef int16_t vq_element;
typedef int8_t v4_element;
#define VQ_TILE_ROWS 2
#define VQ_TILE_VECTORS 4
#define VQ_PARTS 1
#define VQ_INPUT_BIAS 1
#define VQ_INPUT_BITS 8
#define V4_TILE_ROWS 4
#define V4_PARTS 1
APR_INLINE void vq_store(vq_element *p, vf x) {
    int8_t quad[4];
    vf_store_int8(quad, x);
    v128_t whole = wasm_v128_load32_splat(quad);
    v128_t magnitude = wasm_i8x16_abs(whole), negative = wasm_i8x16_lt(whole, wasm_i8x16_splat(0));
    wasm_v128_store64_lane(p, wasm_i32x4_shuffle(magnitude, negative, 0, 4, 0, 4), 0);
}
#define VQ_HAS_STORE_DIGIT
APR_INLINE void vq_store_digit(vq_element *p, vf x) { vq_store(p, x); }
APR_INLINE vq_input vq_load_input(const vq_element *p) {
    return (vq_input){wasm_v128_load32_splat(p), wasm_v128_load32_splat(p + 2)};
}
APR_INLINE vq vq_load_weight(const int8_t *p, int part) { return wasm_v128_load(p + 16 * part); }
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_xor(w, x.negative), x.magnitude, acc);
}
APR_INLINE vi vq_merge_parts(vi a, vi b) { return (void)b, a; }
APR_INLINE void v4_store(v4_element *p, vf x) { vf_store_int8(p, x); }
APR_INLINE v4 v4_load_input(const v4_element *p) { return wasm_v128_load32_splat(p); }
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    v128_t x = wasm_v128_load(p + 16 * part);
    return wasm_v128_and(high ? wasm_u16x8_shr(x, 4) : x, wasm_i8x16_splat(15));
}
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(x, w, acc); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return (void)b, a; }
#else
typedef v128_t vq_input;
typedef int16_t vq_element, v4_element;
#define VQ_TILE_ROWS 6
#define VQ_TILE_VECTORS 1
#define VQ_PARTS 2
#define V4_TILE_ROWS 3
#define V4_PARTS 2
APR_INLINE void vq_store(vq_element *p, vf x) {
    v128_t whole = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(x));
    wasm_v128_store64_lane(p, wasm_i16x8_narrow_i32x4(whole, whole), 0);
}
APR_INLINE vq_input vq_load_input(const vq_element *p) { return wasm_v128_load64_splat(p); }
APR_INLINE vq vq_load_weight(const int8_t *p, int part) { return wasm_i16x8_load8x8(p + 8 * part); }
APR_INLINE vi vq_dot(vi acc, vq w, vq_input x) { return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(w, x)); }
APR_INLINE vi vq_merge_parts(vi a, vi b) {
    return wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
}
APR_INLINE void v4_store(v4_element *p, vf x) { vq_store(p, x); }
APR_INLINE v4 v4_load_input(const v4_element *p) { return vq_load_input(p); }
APR_INLINE v4 v4_load_weight(const uint8_t *p, int part, int high) {
    v128_t x = wasm_u16x8_load8x8(p + 8 * part);
    return high ? wasm_u16x8_shr(x, 4) : wasm_v128_and(x, wasm_i16x8_splat(15));
}
APR_INLINE vi v4_dot(vi acc, v4 w, v4 x) { return vq_dot(acc, w, x); }
APR_INLINE vi v4_merge_parts(vi a, vi b) { return vq_merge_parts(a, b); }
#endif
APR_INLINE vi vq_undo_zero_point(vi sum, const int32_t *sums) { return (void)sums, sum; }

#endif
