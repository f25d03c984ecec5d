/* Attention out = softmax(q keys^T * scale) values for many queries over strided arrays: the encoder.
 *
 * Online softmax over blocks of keys (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022): only one block's
 * scores are stored. The running sums are rescaled whenever the running maximum grows. Vector lanes hold queries, so
 * that no reduction across lanes is needed. Each task packs the keys and values of its head once. Scores are in units
 * of log 2: the queries are multiplied by log2(e) * scale.
 *
 * Operands are stored in 32-bit cells: one float32 each or, where APR_BFLOAT16 is defined, two bfloat16 numbers whose
 * products are accumulated in float32. A bfloat16 pair holds two dimensions for the scores, and two keys for the
 * weighted sum of the values. The softmax weights are then rounded to bfloat16 as well, and normalized by the sum of
 * the rounded weights.
 */
#ifndef WHISPER_APR_KERNELS_ENCODER_ATTENTION_INC_H
#define WHISPER_APR_KERNELS_ENCODER_ATTENTION_INC_H

#include <math.h>
#include <string.h>

#include "../kernels.h"
#include "encoder_block.inc.h"
#include "encoder_int16.inc.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

#if defined(APR_BFLOAT16)

enum { PER_CELL = 2 };
typedef uint32_t cell;
typedef vb vcell;
APR_INLINE vcell cell_load(const cell *p) { return vb_load(p); }
APR_INLINE vcell cell_set1(cell x) { return vb_set1(x); }
APR_INLINE void cell_store(cell *p, vcell x) { vb_store(p, x); }
APR_INLINE vf cell_fma(vcell a, vcell b, vf acc) { return vb_dot(acc, a, b); }
APR_INLINE vf cell_sum(vcell x, vf acc) { return vb_dot(acc, x, vb_interleave(vf_set1(1.0f), vf_set1(1.0f))); }
/* Pack adjacent numbers of one row, and numbers of two rows. */
APR_INLINE vcell cell_from_row(const vf x[PER_CELL]) { return vb_from_floats(x[0], x[1]); }
APR_INLINE vcell cell_from_rows(const vf x[PER_CELL]) { return vb_interleave(x[0], x[1]); }

APR_INLINE vf cell_exp2(vf x) { return exp2_rough(x); }

#else

enum { PER_CELL = 1 };
typedef float cell;
typedef vf vcell;
APR_INLINE vcell cell_load(const cell *p) { return vf_load(p); }
APR_INLINE vcell cell_set1(cell x) { return vf_set1(x); }
APR_INLINE void cell_store(cell *p, vcell x) { vf_store(p, x); }
APR_INLINE vf cell_fma(vcell a, vcell b, vf acc) { return vf_fma(a, b, acc); }
APR_INLINE vf cell_sum(vcell x, vf acc) { return vf_add(acc, x); }
APR_INLINE vcell cell_from_row(const vf x[PER_CELL]) { return x[0]; }
APR_INLINE vcell cell_from_rows(const vf x[PER_CELL]) { return x[0]; }
APR_INLINE vf cell_exp2(vf x) { return exp2_vector(x); }

#endif

typedef struct encoder_work {
    const apr_attention *a;
    ptrdiff_t n_part; /* parts that the queries of one row and head are split into */
    encoder_head h;   /* sizes only */
} encoder_work;

/* Pack n numbers, multiplied by scale, as d_cell cells, zero-padded. */
APR_INLINE void encoder_pack_row(const float *x, ptrdiff_t n, float scale, cell *out, ptrdiff_t d_cell) {
    for (ptrdiff_t d = 0; d < d_cell; d += LANES) {
        vf part[PER_CELL];
        APR_UNROLL
        for (int i = 0; i < PER_CELL; i++) part[i] = vf_mul(load_tail(x, d * PER_CELL + i * LANES, n), vf_set1(scale));
        cell_store(out + d, cell_from_row(part));
    }
}

static void encoder_pack_head(const apr_attention *a, const encoder_head *h, const float *k, const float *v) {
    cell *keys = h->keys, *values = h->values;
    for (ptrdiff_t key = 0; key < h->n_slot; key++) {
        if (key + ENC_PREFETCH_ROWS < a->n_key) prefetch_row(k + (key + ENC_PREFETCH_ROWS) * a->k_time, a->d_head);
        encoder_pack_row(k + key * a->k_time, key < a->n_key ? a->d_head : 0, 1.0f, keys + key * h->d_cell, h->d_cell);
    }
    for (ptrdiff_t key = 0; key < h->n_slot; key += PER_CELL) {
        for (ptrdiff_t ahead = key + ENC_PREFETCH_ROWS; ahead < min_size(key + ENC_PREFETCH_ROWS + PER_CELL, a->n_key);
             ahead++)
            prefetch_row(v + ahead * a->v_time, a->d_head);
        for (ptrdiff_t d = 0; d < h->d_value; d += LANES) {
            vf part[PER_CELL];
            APR_UNROLL
            for (int i = 0; i < PER_CELL; i++)
                part[i] = load_tail(v + (key + i) * a->v_time, d, key + i < a->n_key ? a->d_head : 0);
            cell_store(values + key / PER_CELL * h->d_value + d, cell_from_rows(part));
        }
    }
}

/* acc[i][j] += sum over s < k of the cells a[i * a_row_stride + s * a_k_stride] times b (k, ENC_QUERIES). */
APR_INLINE void encoder_microkernel(vf acc[][ENC_VECTORS], const cell *a, ptrdiff_t a_row_stride, ptrdiff_t a_k_stride,
                                    const cell *b, ptrdiff_t k) {
    APR_UNROLL_2
    for (ptrdiff_t s = 0; s < k; s++) {
        vcell x[ENC_VECTORS];
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++) x[j] = cell_load(b + s * ENC_QUERIES + j * LANES);
        APR_UNROLL
        for (int i = 0; i < ENC_ROWS; i++) {
            vcell y = cell_set1(a[i * a_row_stride + s * a_k_stride]);
            APR_UNROLL
            for (int j = 0; j < ENC_VECTORS; j++) acc[i][j] = cell_fma(y, x[j], acc[i][j]);
        }
    }
}

/* Compute the scores (ENC_ROWS, ENC_QUERIES) of ENC_ROWS keys and update running_max (ENC_QUERIES). */
APR_NOINLINE static void encoder_scores(const cell *keys, ptrdiff_t d_cell, const cell *queries, ptrdiff_t k,
                                        float *scores, float *running_max) {
    vf acc[ENC_ROWS][ENC_VECTORS];
    APR_UNROLL
    for (int i = 0; i < ENC_ROWS * ENC_VECTORS; i++) acc[i / ENC_VECTORS][i % ENC_VECTORS] = vf_zero();
    encoder_microkernel(acc, keys, d_cell, 1, queries, k);
    APR_UNROLL
    for (int j = 0; j < ENC_VECTORS; j++) {
        vf maximum = vf_load(running_max + j * LANES);
        APR_UNROLL
        for (int i = 0; i < ENC_ROWS; i++) {
            vf_store(scores + i * ENC_QUERIES + j * LANES, acc[i][j]);
            maximum = vf_max(acc[i][j], maximum);
        }
        vf_store(running_max + j * LANES, maximum);
    }
}

/* sums (ENC_ROWS, ENC_QUERIES) = sums * rescale (ENC_QUERIES) + weighted values of k * PER_CELL keys, for ENC_ROWS
 * dimensions. */
APR_NOINLINE static void encoder_accumulate(const cell *values, ptrdiff_t d_value, const cell *weights, ptrdiff_t k,
                                            const float *rescale, float *sums) {
    vf acc[ENC_ROWS][ENC_VECTORS];
    APR_UNROLL
    for (int i = 0; i < ENC_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++)
            acc[i][j] = vf_mul(vf_load(sums + i * ENC_QUERIES + j * LANES), vf_load(rescale + j * LANES));
    }
    encoder_microkernel(acc, values, 1, d_value, weights, k);
    APR_UNROLL
    for (int i = 0; i < ENC_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++) vf_store(sums + i * ENC_QUERIES + j * LANES, acc[i][j]);
    }
}

/* Replace scores (k * PER_CELL, ENC_QUERIES) by weights (k, ENC_QUERIES) = exp2(score - running_max), in place, and
 * add them to running_sum (ENC_QUERIES). */
APR_NOINLINE static void encoder_weights(float *scores, ptrdiff_t k, const float *running_max, float *running_sum) {
    cell *weights = (cell *)(void *)scores;
    vf shift[ENC_VECTORS], sum[ENC_VECTORS];
    APR_UNROLL
    for (int j = 0; j < ENC_VECTORS; j++) {
        shift[j] = vf_load(running_max + j * LANES);
        sum[j] = vf_load(running_sum + j * LANES);
    }
    for (ptrdiff_t t = 0; t < k; t++) {
        vf part[ENC_VECTORS][PER_CELL];
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++) {
            APR_UNROLL
            for (int i = 0; i < PER_CELL; i++)
                part[j][i] =
                    cell_exp2(vf_sub(vf_load(scores + (t * PER_CELL + i) * ENC_QUERIES + j * LANES), shift[j]));
        }
        APR_UNROLL
        for (int j = 0; j < ENC_VECTORS; j++) {
            vcell weight = cell_from_rows(part[j]);
            cell_store(weights + t * ENC_QUERIES + j * LANES, weight);
            sum[j] = cell_sum(weight, sum[j]);
        }
    }
    APR_UNROLL
    for (int j = 0; j < ENC_VECTORS; j++) vf_store(running_sum + j * LANES, sum[j]);
}

/* Floats of a packed head, and of the workspace of a block of queries. */
static ptrdiff_t encoder_head_floats(const encoder_head *h, ptrdiff_t per_cell) {
    return h->n_slot * h->d_cell + h->n_slot / per_cell * h->d_value + div_up(h->n_slot, APR_PANEL) * APR_PANEL +
           h->d_value;
}

static ptrdiff_t encoder_floats(const encoder_head *h) {
    return (2 * h->d_cell + ENC_KEY_BLOCK + 2 * h->d_value) * ENC_QUERIES;
}

/* Place a head's arrays in `scratch`; return what follows. */
APR_INLINE float *encoder_place(encoder_head *h, ptrdiff_t per_cell, float *scratch) {
    float *end = scratch + encoder_head_floats(h, per_cell);
    h->keys = scratch;
    h->values = scratch + h->n_slot * h->d_cell;
    h->value_scales = end - h->d_value;
    h->key_scales = h->value_scales - div_up(h->n_slot, APR_PANEL) * APR_PANEL;
    return end;
}

/* ---- the steps, in 16-bit integers or not ---- */

/* Pack a query of n numbers, multiplied by `factor`; return what its scores are to be multiplied with. */
APR_INLINE float encoder_pack_query(const int int16, const float *q, ptrdiff_t n, float factor, float levels,
                                    float *out, ptrdiff_t d_cell) {
#if VI_PAIRS
    if (int16) return factor * int16_pack_row(q, n, levels, (int32_t *)(void *)out, d_cell);
#endif
    (void)int16, (void)levels;
    encoder_pack_row(q, n, factor, (cell *)(void *)out, d_cell);
    return 1.0f;
}

APR_INLINE void encoder_step_scores(const int int16, const encoder_head *h, ptrdiff_t key, const float *queries,
                                    const float *query_scales, ptrdiff_t k, float *scores, float *running_max) {
#if VI_PAIRS
    if (int16) {
        int16_scores((const int32_t *)h->keys + key * h->d_cell, h->key_scales + key, h->d_cell,
                     (const int32_t *)(const void *)queries, query_scales, k, scores, running_max);
        return;
    }
#endif
    (void)int16, (void)query_scales;
    encoder_scores((const cell *)h->keys + key * h->d_cell, h->d_cell, (const cell *)(const void *)queries, k, scores,
                   running_max);
}

APR_INLINE void encoder_step_weights(const int int16, float *scores, ptrdiff_t k, const float *running_max,
                                     float *running_sum) {
#if VI_PAIRS
    if (int16) {
        int16_weights(scores, k, running_max, running_sum);
        return;
    }
#endif
    (void)int16;
    encoder_weights(scores, k, running_max, running_sum);
}

APR_INLINE void encoder_step_accumulate(const int int16, const encoder_head *h, ptrdiff_t key, ptrdiff_t d,
                                        const float *weights, ptrdiff_t k, const float *rescale, float *sums) {
#if VI_PAIRS
    if (int16) {
        int16_accumulate((const int32_t *)h->values + key / 2 * h->d_value + d, h->d_value,
                         (const int32_t *)(const void *)weights, k, rescale, sums);
        return;
    }
#endif
    (void)int16;
    encoder_accumulate((const cell *)h->values + key / PER_CELL * h->d_value + d, h->d_value,
                       (const cell *)(const void *)weights, k, rescale, sums);
}

/* Compute the outputs of the first ENC_QUERIES of n_left queries, and prefetch the queries that follow. n_visible:
 * keys visible to the first query, if attention is causal. */
APR_INLINE void encoder_query_block(const int int16, const encoder_head *h, const apr_attention *a, const float *q,
                                    ptrdiff_t n_left, ptrdiff_t n_visible, float *scratch, float *out) {
    const ptrdiff_t per_cell = int16 ? 2 : PER_CELL, key_block = int16 ? INT16_KEY_BLOCK : ENC_KEY_BLOCK;
    float *rows = scratch, *transposed = rows + h->d_cell * ENC_QUERIES, *scores = transposed + h->d_cell * ENC_QUERIES;
    float *sums = scores + ENC_KEY_BLOCK * ENC_QUERIES, *output = sums + h->d_value * ENC_QUERIES;
    float visible[ENC_QUERIES], previous_max[ENC_QUERIES], running_max[ENC_QUERIES], running_sum[ENC_QUERIES],
        rescale[ENC_QUERIES], query_scales[ENC_QUERIES];
    const float levels = int16 ? int16_levels(a->d_head) : 0.0f;
    ptrdiff_t n_query = min_size(ENC_QUERIES, n_left), k = div_up(a->d_head, per_cell);
    ptrdiff_t n_key = a->causal ? min_size(a->n_key, n_visible + n_query - 1) : a->n_key;
    for (ptrdiff_t i = 0; i < ENC_QUERIES; i++) {
        visible[i] = (float)(a->causal ? min_size(max_size(1, n_visible + i), n_key) : n_key);
        previous_max[i] = running_max[i] = -INFINITY;
        running_sum[i] = 0.0f;
        query_scales[i] = encoder_pack_query(int16, q + i * a->q_time, i < n_query ? a->d_head : 0, a->scale * LOG2_E,
                                             levels, rows + i * h->d_cell, h->d_cell);
    }
    transpose(rows, ENC_QUERIES, h->d_cell, transposed, h->d_cell, ENC_QUERIES);
    memset(sums, 0, (size_t)(h->d_value * ENC_QUERIES) * sizeof(float));
    for (ptrdiff_t key0 = 0; key0 < n_key; key0 += key_block) {
        ptrdiff_t n = min_size(key_block, n_key - key0), slots = div_up(n, ENC_ROWS) * ENC_ROWS;
        for (ptrdiff_t t = 0; t < slots; t += ENC_ROWS)
            encoder_step_scores(int16, h, key0 + t, transposed, query_scales, k, scores + t * ENC_QUERIES, running_max);
        if (slots > n || (a->causal && key0 + n > n_visible))
            encoder_mask(scores, slots, key0, visible, previous_max, running_max);
        for (int j = 0; j < ENC_VECTORS; j++) {
            vf scale = exp2_vector(vf_sub(vf_load(previous_max + j * LANES), vf_load(running_max + j * LANES)));
            vf_store(rescale + j * LANES, scale);
            vf_store(running_sum + j * LANES, vf_mul(vf_load(running_sum + j * LANES), scale));
        }
        memcpy(previous_max, running_max, sizeof previous_max);
        for (ptrdiff_t i = ENC_QUERIES + key0 * ENC_QUERIES / n_key;
             i < min_size(n_left, ENC_QUERIES + (key0 + n) * ENC_QUERIES / n_key); i++)
            prefetch_row(q + i * a->q_time, a->d_head);
        encoder_step_weights(int16, scores, slots / per_cell, running_max, running_sum);
        for (ptrdiff_t d = 0; d < a->d_head; d += ENC_ROWS)
            encoder_step_accumulate(int16, h, key0, d, scores, slots / per_cell, rescale, sums + d * ENC_QUERIES);
    }
    for (int j = 0; j < ENC_VECTORS; j++) {
        vf inverse_sum = vf_div(vf_set1(1.0f), vf_load(running_sum + j * LANES));
        for (ptrdiff_t d = 0; d < a->d_head; d++) {
            float *sum = sums + d * ENC_QUERIES + j * LANES;
            vf factor = int16 ? vf_mul(inverse_sum, vf_set1(h->value_scales[d])) : inverse_sum;
            vf_store(sum, vf_mul(vf_load(sum), factor));
        }
    }
    transpose(sums, h->d_value, ENC_QUERIES, output, ENC_QUERIES, h->d_value);
    for (ptrdiff_t i = 0; i < n_query; i++)
        memcpy(out + i * a->out_time, output + i * h->d_value, (size_t)a->d_head * sizeof(float));
}

/* Compute a part of the queries of one row and head. */
APR_INLINE void encoder_queries(const int int16, const encoder_work *work, const encoder_head *h, ptrdiff_t i,
                                float *workspace) {
    const apr_attention *a = work->a;
    ptrdiff_t part = i % work->n_part, head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    const float *q = a->q + row * a->q_row + head * a->q_head;
    float *out = a->out + row * a->out_row + head * a->out_head;
    ptrdiff_t n_block = div_up(a->n_query, ENC_QUERIES);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * ENC_QUERIES;
        encoder_query_block(int16, h, a, q + first * a->q_time, a->n_query - first, a->n_key - a->n_query + 1 + first,
                            workspace, out + first * a->out_time);
    }
}

static void encoder_task(void *context, ptrdiff_t i, void *scratch) {
    const encoder_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    const float *k = (const float *)a->keys + row * a->k_row + head * a->k_head,
                *v = (const float *)a->values + row * a->v_row + head * a->v_head;
    encoder_head h = work->h;
    float *workspace = encoder_place(&h, PER_CELL, scratch);
#if VI_PAIRS
    /* not if it is causal: the scales of the values would depend on those that a query does not see */
    if (a->reduced && !a->causal && a->d_head <= INT16_MAX_DIMENSIONS) {
        encoder_head small = h;
        small.d_cell = div_up(a->d_head, 2 * APR_PANEL) * APR_PANEL;
        float *small_workspace = encoder_place(&small, 2, scratch);
        if (int16_pack_head(a, &small, k, v, small_workspace)) {
            encoder_queries(1, work, &small, i, small_workspace);
            return;
        }
    }
#endif
    encoder_pack_head(a, &h, k, v);
    encoder_queries(0, work, &h, i, workspace);
}

static void encoder_attention(const apr_attention *a) {
    encoder_work work = {.a = a, .n_part = 1, .h = {.n_slot = div_up(a->n_key, ENC_ROWS) * ENC_ROWS}};
    work.h.d_cell = div_up(a->d_head, PER_CELL * APR_PANEL) * APR_PANEL;
    work.h.d_value = div_up(a->d_head, APR_PANEL) * APR_PANEL;
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    if (n_thread > 1) work.n_part = min_size(div_up(ENC_TASKS * n_thread, n_pair), div_up(a->n_query, ENC_QUERIES));
    size_t floats = (size_t)(encoder_head_floats(&work.h, PER_CELL) + encoder_floats(&work.h));
    apr_parallel(encoder_task, &work, n_pair * work.n_part, floats * sizeof(float));
}

#endif
