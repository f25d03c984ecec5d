/* Attention over int8 pages, computed with the integer dot product, so that no cached byte is converted to float.
 *
 * A query is quantized to 16 bits and multiplied with the keys. The softmax weights, multiplied by the scales of the
 * values, are quantized to 14 bits relative to the maximum of each block of 64 positions, and multiplied with the
 * values of that block. Integer sums are exact, so every backend produces the same ones. Where the dot product takes
 * int8 inputs, each input is split into two digits whose products are summed separately.
 */
#ifndef WHISPER_APR_KERNELS_ATTENTION_INT8_INC_H
#define WHISPER_APR_KERNELS_ATTENTION_INT8_INC_H

#include <string.h>

#include "../kernels.h"
#include "pages.inc.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

#if !defined(VQ_KEY_ZERO_POINT) /* the zero point that vq_load_key adds where the dot product requires unsigned keys */
#define VQ_KEY_ZERO_POINT 0
APR_INLINE vq vq_load_key(const int8_t *p, int part) { return vq_load_weight(p, part); }
APR_INLINE vi vq_dot_key(vi acc, vq key, vq_input x) { return vq_dot(acc, key, x); }
#endif

#if !defined(VQ_HAS_STORE_DIGIT)
APR_INLINE void vq_store_digit(vq_element *p, vf x) { vf_store_int8((int8_t *)p, x); }
#endif

enum {
    DIGITS = VQ_INPUT_BITS == 8 ? 2 : 1,
    KEY_BASE = 255, /* queries: two digits from -127 to 127 */
    KEY_MAX = 127 * 255 + 127,
    WEIGHT_BASE = 128, /* weights: two digits from 0 to 127, the same signed and unsigned */
    WEIGHT_MAX = 127 * 128,
    INT8_ROWS = VF_TILE_ROWS < 6 ? VF_TILE_ROWS : 6, /* queries that read a page together */
    INT8_VECTORS = 4,          /* vectors of keys or of dimensions at once, where there are few queries */
    INT8_ACCUMULATORS = 16,    /* most accumulators, as many as the register file holds */
    INT8_VALUE_BLOCK = 64,     /* positions whose weights are quantized together */
    INT8_D_HEAD_MULTIPLE = 64, /* d_head must be a multiple of this */
    /* Largest d_head: 512 * 127 * KEY_MAX < 2^31, and 512 * 127 * 127 < 2^24, which is exact in float32. */
    INT8_MAX_D_HEAD = 512,
};

/* One head of one row. */
typedef struct int8_head {
    const int8_t *keys, *values;            /* (n_page, d_head / 4, 16, 4) and (n_page, 4, d_head, 4) */
    const float *key_scales, *value_scales; /* (n_page, 16) */
    const int32_t *pages;
    ptrdiff_t d_head, n_slot; /* n_slot: positions, rounded up to whole pages */
} int8_head;

/* Split an integer in each lane into digits: the high one goes to out, the low one to out + 16. */
APR_INLINE void store_digits(vf x, int key, vq_element *out) {
    if (DIGITS == 1) {
        vq_store(out, x);
        return;
    }
    const float base = key ? KEY_BASE : WEIGHT_BASE;
    /* For keys, round to the nearest multiple of the base, which is odd, so that there are no ties; for weights, round
     * down, which is rounding to nearest after subtracting (base - 1) / 2. */
    vf high = vf_round(vf_fma(x, vf_set1(1.0f / base), vf_set1(key ? 0.0f : 0.5f / base - 0.5f)));
    vq_store_digit(out, high);
    vq_store_digit(out + APR_PANEL, vf_fma(high, vf_set1(-base), x));
}

/* Quantize n numbers (a multiple of 16) of query or weight row i into out (n / 16, rows, DIGITS, 16). Return the
 * scale. */
APR_NOINLINE static float quantize_digits(const float *x, ptrdiff_t n, int key, ptrdiff_t i, ptrdiff_t rows,
                                          vq_element *out) {
    const float visible_step = (float)(key ? KEY_MAX : WEIGHT_MAX) / 127.0f;
    float inverse_scale, scale = quantization_scale(x, n, 127.0f, &inverse_scale);
    for (ptrdiff_t at = 0; at < n; at += LANES) {
        vf whole = inverse_scale == 0.0f ? vf_zero()
                                         : vf_round(vf_mul(vf_load(x + at), vf_set1(inverse_scale * visible_step)));
        store_digits(whole, key, out + (at / APR_PANEL * rows + i) * DIGITS * APR_PANEL + at % APR_PANEL);
    }
    return scale / visible_step;
}

APR_INLINE void int8_init(vi acc[][INT8_VECTORS][VQ_PARTS], const int sums, const int vectors, const int32_t *from) {
    APR_UNROLL
    for (int i = 0; i < sums; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors * VQ_PARTS; j++) acc[i][j / VQ_PARTS][j % VQ_PARTS] = vi_set1(from[i]);
    }
}

/* acc[i][j] += inputs times int8 values, the microkernel.
 * x: inputs (n_block, sums, 16), sums = rows * DIGITS; w: quads of adjacent outputs, one line every w_stride bytes.
 * prefetch_bytes: bytes of w to prefetch with each line. */
APR_INLINE void int8_microkernel(vi acc[][INT8_VECTORS][VQ_PARTS], const int sums, const int vectors, const int keys,
                                 const vq_element *x, const int8_t *w, ptrdiff_t w_stride, ptrdiff_t n_block,
                                 ptrdiff_t prefetch_bytes) {
    for (ptrdiff_t block = 0; block < n_block; block++, x += sums * APR_PANEL) {
        APR_UNROLL
        for (int q = 0; q < APR_PANEL / APR_QUAD; q++, w += w_stride) {
            vq part[INT8_VECTORS][VQ_PARTS];
            for (ptrdiff_t at = 0; at < prefetch_bytes; at += CACHE_LINE) APR_PREFETCH(w + PREFETCH_DISTANCE + at);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                APR_UNROLL
                for (int p = 0; p < VQ_PARTS; p++)
                    part[j][p] =
                        keys ? vq_load_key(w + j * LANES * APR_QUAD, p) : vq_load_weight(w + j * LANES * APR_QUAD, p);
            }
            APR_UNROLL
            for (int i = 0; i < sums; i++) {
                vq_input input = vq_load_input(x + i * APR_PANEL + q * APR_QUAD);
                APR_UNROLL
                for (int j = 0; j < vectors; j++) {
                    APR_UNROLL
                    for (int p = 0; p < VQ_PARTS; p++)
                        acc[i][j][p] = keys ? vq_dot_key(acc[i][j][p], part[j][p], input)
                                            : vq_dot(acc[i][j][p], part[j][p], input);
                }
            }
        }
    }
}

/* Combine the sums of the two digits of row i. */
APR_INLINE vf int8_combine_digits(vi acc[][INT8_VECTORS][VQ_PARTS], const int i, const int j, const int base) {
    vf high = vf_from_int(vq_merge_parts(acc[i * DIGITS][j][0], acc[i * DIGITS][j][VQ_PARTS - 1]));
    if (DIGITS == 1) return high;
    vi low = vq_merge_parts(acc[i * DIGITS + DIGITS - 1][j][0], acc[i * DIGITS + DIGITS - 1][j][VQ_PARTS - 1]);
    return vf_fma(high, vf_set1((float)base), vf_from_int(low));
}

/* Compute scores[i][page * 16 + key] from queries in digits, page by page. */
APR_INLINE void int8_scores(const int8_head *h, const int rows, const int vectors, const vq_element *queries,
                            const float *scales, float *scores) {
    const ptrdiff_t n_block = h->d_head / APR_PANEL, prefetch_bytes = apr_zen5 ? CACHE_LINE : 0;
    int32_t compensation[INT8_ROWS * DIGITS] = {0};
    vi acc[INT8_ROWS * DIGITS][INT8_VECTORS][VQ_PARTS];
    if (VQ_KEY_ZERO_POINT || VQ_INPUT_BIAS) { /* measure their contribution with an all-zero key */
        static const int8_t zeros[APR_PANEL * APR_QUAD];
        int32_t lanes[LANES];
        int8_init(acc, rows * DIGITS, 1, compensation);
        int8_microkernel(acc, rows * DIGITS, 1, 1, queries, zeros, 0, n_block, 0);
        APR_UNROLL
        for (int i = 0; i < rows * DIGITS; i++) {
            vi_store(lanes, acc[i][0][0]);
            compensation[i] = -lanes[0];
        }
    }
    for (ptrdiff_t key = 0; key < h->n_slot; key += vectors * LANES) {
        ptrdiff_t page = h->pages[key / APR_PANEL], slot = key % APR_PANEL;
        const int8_t *keys = h->keys + page * APR_PANEL * h->d_head + slot * APR_QUAD;
        int8_init(acc, rows * DIGITS, vectors, compensation);
        int8_microkernel(acc, rows * DIGITS, vectors, 1, queries, keys, APR_PANEL * APR_QUAD, n_block, prefetch_bytes);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                vf score = vf_mul(int8_combine_digits(acc, i, j, KEY_BASE), vf_set1(scales[i]));
                vf_store(scores + i * h->n_slot + key + j * LANES,
                         vf_mul(score, vf_load(h->key_scales + page * APR_PANEL + slot + j * LANES)));
            }
        }
    }
}

/* sums[i] (d_head) = weights[i] times the values, one block of positions after the other. */
APR_INLINE void int8_weighted_values(const int8_head *h, const int rows, const int vectors, const float *weights,
                                     float *sums) {
    static const int32_t zeros[INT8_ROWS * DIGITS];
    const ptrdiff_t line = h->d_head * APR_QUAD;
    memset(sums, 0, (size_t)(rows * h->d_head) * sizeof *sums);
    for (ptrdiff_t first = 0; first < h->n_slot; first += INT8_VALUE_BLOCK) {
        vq_element digits[INT8_ROWS * DIGITS * INT8_VALUE_BLOCK];
        float scales[INT8_ROWS];
        ptrdiff_t n = min_size(INT8_VALUE_BLOCK, h->n_slot - first);
        APR_UNROLL
        for (int i = 0; i < rows; i++)
            scales[i] = quantize_digits(weights + i * h->n_slot + first, n, 0, i, rows, digits);
        for (ptrdiff_t d = 0; d < h->d_head; d += vectors * LANES) {
            vi acc[INT8_ROWS * DIGITS][INT8_VECTORS][VQ_PARTS];
            const ptrdiff_t prefetch_bytes = apr_zen5 && d == 0 ? line : 0;
            int8_init(acc, rows * DIGITS, vectors, zeros);
            for (ptrdiff_t at = 0; at < n; at += APR_PANEL) {
                const int8_t *values =
                    h->values + h->pages[(first + at) / APR_PANEL] * APR_PANEL * h->d_head + d * APR_QUAD;
                int8_microkernel(acc, rows * DIGITS, vectors, 0, digits + at * rows * DIGITS, values, line, 1,
                                 prefetch_bytes);
            }
            APR_UNROLL
            for (int i = 0; i < rows; i++) {
                APR_UNROLL
                for (int j = 0; j < vectors; j++) {
                    float *sum = sums + i * h->d_head + d + j * LANES;
                    vf_store(sum,
                             vf_fma(int8_combine_digits(acc, i, j, WEIGHT_BASE), vf_set1(scales[i]), vf_load(sum)));
                }
            }
        }
    }
}

/* Compute the softmax of each query's scores, times the scales of the values. n_visible: keys visible to the first
 * query; visible_step: how many more are visible to each following query. */
static void int8_softmax(const int8_head *h, int rows, ptrdiff_t n_visible, ptrdiff_t visible_step, float *scores) {
    for (int i = 0; i < rows; i++, n_visible += visible_step, scores += h->n_slot) {
        ptrdiff_t visible = max_size(1, n_visible);
        softmax_base2(scores, visible, h->n_slot);
        for (ptrdiff_t key = 0; key < h->n_slot; key += LANES)
            vf_store(scores + key,
                     vf_mul(vf_load(scores + key),
                            vf_load(h->value_scales + h->pages[key / APR_PANEL] * APR_PANEL + key % APR_PANEL)));
        for (ptrdiff_t key = visible; key < h->n_slot; key++)
            scores[key] = 0.0f; /* the scale of an unwritten slot may be anything */
    }
}

static void int8_query_block(const int8_head *h, int rows, const vq_element *queries, const float *scales,
                             ptrdiff_t n_visible, ptrdiff_t visible_step, float *scores, float *sums) {
#define FITS(R, V) ((R) * DIGITS * VQ_PARTS * (V) <= INT8_ACCUMULATORS)
#define WIDE(R) (FITS(R, 4) ? 4 : FITS(R, 2) ? 2 : 1)
#define NARROW(R) (WIDE(R) * LANES <= APR_PANEL ? WIDE(R) : APR_PANEL / LANES) /* at most one page */
#define INT8_CASE(R) \
    case R: \
        int8_scores(h, R, NARROW(R), queries, scales, scores); \
        int8_softmax(h, R, n_visible, visible_step, scores); \
        int8_weighted_values(h, R, WIDE(R), scores, sums); \
        break;
    switch (rows) {
        INT8_CASE(1)
        INT8_CASE(2)
        INT8_CASE(3)
        INT8_CASE(4)
#if VF_TILE_ROWS > 4
        INT8_CASE(5)
        INT8_CASE(6)
#endif
    }
#undef INT8_CASE
#undef NARROW
#undef WIDE
#undef FITS
}

typedef struct int8_attention_work {
    const apr_attention *a;
    ptrdiff_t n_part; /* parts that the queries of one row and head are split into */
} int8_attention_work;

static void int8_attention_task(void *context, ptrdiff_t index, void *scratch) {
    const int8_attention_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t part = index % work->n_part, head = index / work->n_part % a->n_head,
              row = index / work->n_part / a->n_head;
    ptrdiff_t n_key = a->lengths[row], d_head = a->d_head, first_page = head * a->n_page,
              n_block = div_up(a->n_query, INT8_ROWS);
    int8_head h = {
        .pages = a->pages + row * a->pages_stride, .d_head = d_head, .n_slot = div_up(n_key, APR_PANEL) * APR_PANEL};
    h.keys = (const int8_t *)a->keys + first_page * APR_PANEL * d_head;
    h.values = (const int8_t *)a->values + first_page * APR_PANEL * d_head;
    h.key_scales = a->scales + first_page * APR_PANEL;
    h.value_scales = h.key_scales + a->n_head * a->n_page * APR_PANEL;
    float *scores = scratch, *sums = scores + INT8_ROWS * h.n_slot, *query = sums + INT8_ROWS * d_head;
    vq_element *queries = (vq_element *)(void *)(query + d_head);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * INT8_ROWS, rows = min_size(INT8_ROWS, a->n_query - first);
        const float *q = a->q + row * a->q_row + head * a->q_head + first * a->q_time;
        float *out = a->out + row * a->out_row + head * a->out_head + first * a->out_time, scales[INT8_ROWS];
        for (ptrdiff_t i = 0; i < rows; i++) {
            for (ptrdiff_t d = 0; d < d_head; d++) query[d] = q[i * a->q_time + d] * (a->scale * LOG2_E);
            scales[i] = quantize_digits(query, d_head, 1, i, rows, queries);
        }
        int8_query_block(&h, (int)rows, queries, scales, a->causal ? n_key - a->n_query + 1 + first : n_key,
                         a->causal ? 1 : 0, scores, sums);
        for (ptrdiff_t i = 0; i < rows; i++)
            memcpy(out + i * a->out_time, sums + i * d_head, (size_t)d_head * sizeof *sums);
    }
}

/* Return whether int8_attention supports a call. All Whisper models have d_head 64. */
APR_INLINE int int8_attention_supported(const apr_attention *a) {
    return a->type == APR_INT8 && a->d_head % INT8_D_HEAD_MULTIPLE == 0 && a->d_head <= INT8_MAX_D_HEAD;
}

static void int8_attention(const apr_attention *a) {
    int8_attention_work work = {.a = a, .n_part = query_parts(a, INT8_ROWS)};
    ptrdiff_t floats = INT8_ROWS * (div_up(longest_length(a), APR_PANEL) * APR_PANEL + a->d_head) + a->d_head;
    size_t digits = (size_t)(INT8_ROWS * DIGITS * a->d_head) * sizeof(vq_element);
    apr_parallel(int8_attention_task, &work, a->n_row * a->n_head * work.n_part,
                 (size_t)floats * sizeof(float) + digits);
}

#endif
