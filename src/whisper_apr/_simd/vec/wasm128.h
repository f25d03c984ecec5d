/* WebAssembly's simd128: four lanes, no fused multiply-add; V8 keeps sixteen of them in registers. */
#include "common.h"

#include <wasm_simd128.h>

#define VF_LANES 4
#define VF_TILE_ROWS 4 /* rows of a register block that is two vectors wide */
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
APR_INLINE vf vf_load_half(const uint16_t *p) {
    v128_t h = wasm_u32x4_load16x4(p);
    v128_t magnitude = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_splat(0x7fff)), 13);
    v128_t sign = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_splat(0x8000)), 16);
    v128_t special = wasm_i32x4_gt(magnitude, wasm_i32x4_splat((0x7c00 << 13) - 1));
    v128_t scaled = wasm_f32x4_mul(magnitude, wasm_i32x4_splat(0x77800000));
    return wasm_v128_or(scaled, wasm_v128_or(sign, wasm_v128_and(special, wasm_i32x4_splat(0x7f800000))));
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
APR_INLINE vf vf_fma(vf a, vf b, vf c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
APR_INLINE vf vf_max(vf a, vf b) { return wasm_f32x4_pmax(b, a); }
APR_INLINE vf vf_min(vf a, vf b) { return wasm_f32x4_pmin(b, a); }
APR_INLINE vf vf_select_lt(vf a, vf b, vf yes, vf no) { return wasm_v128_bitselect(yes, no, wasm_f32x4_lt(a, b)); }
APR_INLINE uint32_t vf_mask_eq(vf a, vf b) { return wasm_i32x4_bitmask(wasm_f32x4_eq(a, b)); }
APR_INLINE vf vf_round(vf x) { return wasm_f32x4_nearest(x); }
APR_INLINE vf vf_pow2(vf n) {
    return wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127)), 23);
}
APR_INLINE float vf_sum(vf x) {
    return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 2)) + (wasm_f32x4_extract_lane(x, 1) + wasm_f32x4_extract_lane(x, 3));
}
APR_INLINE float vf_largest(vf x) {
    v128_t y = wasm_f32x4_pmax(x, wasm_i32x4_shuffle(x, x, 2, 3, 0, 1));
    v128_t z = wasm_f32x4_pmax(y, wasm_i32x4_shuffle(y, y, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(z, 0);
}
