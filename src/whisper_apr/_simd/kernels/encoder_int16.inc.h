/* The encoder's attention in 16-bit integers, whose products are summed in int32: packing, and the steps that
 * encoder_attention.inc.h calls for it. For instruction sets that multiply pairs of 16-bit integers faster than floats.
 *
 * Each query and each key is quantized with a scale of its own, so finely that the sum of d_head products fits in
 * int32. The values of a dimension share a scale. The softmax weights, at most 1, are multiples of
 * 2^-INT16_WEIGHT_BITS, and are normalized by the sum of the rounded weights. Two integers share a 32-bit cell: two
 * dimensions of a query or a key, or one dimension of two keys.
 */
#ifndef WHISPER_APR_KERNELS_ENCODER_INT16_INC_H
#define WHISPER_APR_KERNELS_ENCODER_INT16_INC_H

#include <math.h>
#include <string.h>

#include "../kernels.h"
#include "encoder_block.inc.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

enum {
    INT16_KEY_BLOCK = 64,
    INT16_WEIGHT_BITS = 14,
    INT16_VALUE_LEVELS = 2047, /* with both numbers above, sums are below 2^31 */
    INT16_MAX_LEVELS = 32767,
    INT16_MAX_DIMENSIONS = 512, /* more would leave fewer than 2047 levels for queries and keys */
};

/* Return an integer whose square, times d, is less than 2^31, almost the largest one. WebAssembly has instructions for
 * what is called here, as it must: a thread there (web/static/thread.js) cannot call the C library. */
APR_INLINE float int16_levels(ptrdiff_t d) {
    float levels = floorf(sqrtf(2147483648.0f / (float)d)) - 1.0f;
    return levels < INT16_MAX_LEVELS ? levels : INT16_MAX_LEVELS;
}

#if VI_PAIRS

/* Quantize n numbers to d_cell cells, zero-padded, and return their scale: NaN if one is infinite or NaN. */
APR_INLINE float int16_pack_row(const float *x, ptrdiff_t n, float levels, int32_t *out, ptrdiff_t d_cell) {
    float inverse_scale = 0.0f, scale = n > 0 ? quantization_scale(x, n, levels, &inverse_scale) : 0.0f;
    for (ptrdiff_t d = 0; d < d_cell; d += LANES) {
        vf part[2];
        APR_UNROLL
        for (int i = 0; i < 2; i++) {
            ptrdiff_t at = d * 2 + i * LANES;
            part[i] = inverse_scale == 0.0f ? vf_zero() : vf_mul(load_tail(x, at, n), vf_set1(inverse_scale));
        }
        vi_store(out + d, vi_pack_pairs(part[0], part[1]));
    }
    return scale;
}

/* Compute the scale of each dimension of the values and, in `inverse` (d_value), its inverse, or 0 for both. Return
 * whether all values are finite. */
static int int16_value_scales(const apr_attention *a, const float *v, ptrdiff_t d_value, float *scales,
                              float *inverse) {
    vf nonfinite = vf_zero();
    memset(scales, 0, (size_t)d_value * sizeof(float));
    for (ptrdiff_t key = 0; key < a->n_key; key++) {
        if (key + ENC_PREFETCH_ROWS < a->n_key) prefetch_row(v + (key + ENC_PREFETCH_ROWS) * a->v_time, a->d_head);
        for (ptrdiff_t d = 0; d < d_value; d += LANES) {
            vf x = load_tail(v + key * a->v_time, d, a->d_head);
            vf_store(scales + d, vf_max(vf_max(x, vf_sub(vf_zero(), x)), vf_load(scales + d)));
            nonfinite = vf_fma(x, vf_zero(), nonfinite); /* NaN if a value is infinite or NaN */
        }
    }
    for (ptrdiff_t d = 0; d < d_value; d++) {
        int usable = scales[d] > 1e-35f;
        inverse[d] = usable ? INT16_VALUE_LEVELS / scales[d] : 0.0f;
        scales[d] = usable ? scales[d] / INT16_VALUE_LEVELS : 0.0f;
    }
    return vf_reduce_add(nonfinite) == 0.0f;
}

/* Pack the keys and values of a head; `scratch` (d_value). Return 0 if a number is infinite or NaN. */
static int int16_pack_head(const apr_attention *a, const encoder_head *h, const float *k, const float *v,
                           float *scratch) {
    const float levels = int16_levels(a->d_head);
    int32_t *keys = h->keys, *values = h->values;
    float sum = 0.0f; /* NaN if a scale is */
    if (!int16_value_scales(a, v, h->d_value, h->value_scales, scratch)) return 0;
    for (ptrdiff_t key = 0; key < h->n_slot; key++) {
        if (key + ENC_PREFETCH_ROWS < a->n_key) prefetch_row(k + (key + ENC_PREFETCH_ROWS) * a->k_time, a->d_head);
        h->key_scales[key] = int16_pack_row(k + key * a->k_time, key < a->n_key ? a->d_head : 0, levels,
                                            keys + key * h->d_cell, h->d_cell);
        sum += h->key_scales[key];
    }
    for (ptrdiff_t key = 0; key < h->n_slot; key += 2) {
        for (ptrdiff_t d = 0; d < h->d_value; d += LANES) {
            vf part[2], inverse = vf_load(scratch + d);
            APR_UNROLL
            for (int i = 0; i < 2; i++)
                part[i] = vf_mul(load_tail(v + (key + i) * a->v_time, d, key + i < a->n_key ? a->d_head : 0), inverse);
            vi_store(values + key / 2 * h->d_value + d, vi_interleave_pairs(part[0], part[1]));
        }
    }
    return sum < INFINITY;
}

/* acc[i][j] += sum over s < k of the products of pairs a[i * a_row_stride + s * a_k_stride] and b (k, ENC_QUERIES). */
APR_INLINE void int16_microkernel(vi acc[][ENC_VECTORS], const int32_t *a, ptrdiff_t a_row_stride, ptrdiff_t a_k_stride,
                                  const int32_t *b, ptrdiff_t k) {
    APR_UNROLL
    for (int i = 0; i < ENC_ROWS * ENC_VECTORS; i++) acc[i / ENC_VECTORS][i % ENC_VECTORS] = vi_set1(0);
    for (ptrdiff_t s = 0; s < k; s++) {
        vi x[ENC_VECTORS];
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++) x[j] = vi_load(b + s * ENC_QUERIES + j * LANES);
        APR_UNROLL
        for (int i = 0; i < ENC_ROWS; i++) {
            vi y = vi_set1(a[i * a_row_stride + s * a_k_stride]);
            APR_UNROLL
            for (int j = 0; j < ENC_VECTORS; j++) acc[i][j] = vi_dot_pairs(acc[i][j], y, x[j]);
        }
    }
}

/* As encoder_scores, with the scales of the ENC_ROWS keys and of the queries. */
APR_NOINLINE static void int16_scores(const int32_t *keys, const float *key_scales, ptrdiff_t d_cell,
                                      const int32_t *queries, const float *query_scales, ptrdiff_t k, float *scores,
                                      float *running_max) {
    vi acc[ENC_ROWS][ENC_VECTORS];
    int16_microkernel(acc, keys, d_cell, 1, queries, k);
    APR_UNROLL
    for (int j = 0; j < ENC_VECTORS; j++) {
        vf maximum = vf_load(running_max + j * LANES), scales = vf_load(query_scales + j * LANES);
        APR_UNROLL
        for (int i = 0; i < ENC_ROWS; i++) {
            vf score = vf_mul(vf_from_int(acc[i][j]), vf_mul(scales, vf_set1(key_scales[i])));
            vf_store(scores + i * ENC_QUERIES + j * LANES, score);
            maximum = vf_max(score, maximum);
        }
        vf_store(running_max + j * LANES, maximum);
    }
}

/* As encoder_weights, for k pairs of keys: weights (k, ENC_QUERIES) are pairs of integers, 2^INT16_WEIGHT_BITS for the
 * largest score. */
APR_NOINLINE static void int16_weights(float *scores, ptrdiff_t k, const float *running_max, float *running_sum) {
    int32_t *weights = (int32_t *)(void *)scores;
    const vi ones = vi_pack_pairs(vf_set1(1.0f), vf_set1(1.0f));
    for (int j = 0; j < ENC_VECTORS; j++) {
        vf shift = vf_sub(vf_load(running_max + j * LANES), vf_set1(INT16_WEIGHT_BITS));
        vi sum = vi_set1(0);
        for (ptrdiff_t t = 0; t < k; t++) {
            const float *pair = scores + t * 2 * ENC_QUERIES + j * LANES;
            vi weight = vi_interleave_pairs(exp2_rough(vf_sub(vf_load(pair), shift)),
                                            exp2_rough(vf_sub(vf_load(pair + ENC_QUERIES), shift)));
            vi_store(weights + t * ENC_QUERIES + j * LANES, weight);
            sum = vi_dot_pairs(sum, weight, ones);
        }
        vf_store(running_sum + j * LANES, vf_add(vf_load(running_sum + j * LANES), vf_from_int(sum)));
    }
}

/* As encoder_accumulate, for k pairs of keys. */
APR_NOINLINE static void int16_accumulate(const int32_t *values, ptrdiff_t d_value, const int32_t *weights, ptrdiff_t k,
                                          const float *rescale, float *sums) {
    vi acc[ENC_ROWS][ENC_VECTORS];
    int16_microkernel(acc, values, 1, d_value, weights, k);
    APR_UNROLL
    for (int i = 0; i < ENC_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++) {
            float *sum = sums + i * ENC_QUERIES + j * LANES;
            vf_store(sum, vf_fma(vf_load(sum), vf_load(rescale + j * LANES), vf_from_int(acc[i][j])));
        }
    }
}

#endif

#endif
