/* Attention out = softmax(q keys^T * scale) values for a few queries at a time: the decoder's self-attention and
 * cross-attention over pages of the KV cache, and any call with few queries. Calls with many queries over strided
 * arrays (the encoder) go to encoder_attention.inc.h; int8 pages go to attention_int8.inc.h.
 *
 * One task computes one head of one batch row, SMALL_M_ROWS queries at a time. Vector lanes hold keys while the scores
 * are computed, and dimensions while the values are summed. Pages are read in place; strided arrays, and int8 heads of
 * a size that attention_int8.inc.h does not support, are first copied into float32 pages. The output of a query
 * depends neither on the number of queries nor on the lengths of other rows.
 *
 * Scores are in units of log 2: the queries are multiplied by log2(e) * scale beforehand, and the softmax uses 2^x.
 */
#ifndef WHISPER_APR_KERNELS_ATTENTION_INC_H
#define WHISPER_APR_KERNELS_ATTENTION_INC_H

#include <string.h>

#include "../kernels.h"
#include "attention_int8.inc.h"
#include "encoder_attention.inc.h"
#include "pages.inc.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

enum {
    VALUE_PREFETCH_PAGES = 2, /* pages between a value being read and being prefetched */
    /* Vectors of a row of values that one query accumulates at once: as many as the register file holds. */
    QUERY_BLOCK_VECTORS = LANES > 8 || LANES == 1 ? 4 : 8,
    /* Accumulators per score, which hide the latency of the multiply-add where a page has few vectors. */
    SCORE_ACCUMULATORS = LANES >= 8 ? 2 : 1,
    SCORE_VECTORS = LANES > 1 ? APR_PANEL / LANES : 4, /* vectors of keys, for one or two queries */
    /* Vectors of keys, for more queries. */
    SCORE_VECTORS_BLOCK = SCORE_VECTORS < TILE_VECTORS ? SCORE_VECTORS : TILE_VECTORS,
    /* Queries whose scores are computed at once. */
    SCORE_ROWS = SCORE_VECTORS_BLOCK * SCORE_ACCUMULATORS > TILE_VECTORS ? SMALL_M_ROWS / 2 : SMALL_M_ROWS,
};

typedef struct attention_work {
    const apr_attention *a;
    ptrdiff_t n_part;  /* parts that the queries of one row and head are split into */
    ptrdiff_t n_key;   /* the longest row's number of keys */
    ptrdiff_t d_value; /* d_head, rounded up to a multiple of 16 */
    int gather;        /* nonzero: copy keys and values into scratch first */
} attention_work;

/* One head of one row: keys in panels (d_head, 16) and values as (16, value_stride), one of each per page. */
typedef struct attention_head {
    const void *keys, *values;
    const int32_t *pages; /* NULL: pages are consecutive */
    ptrdiff_t page_stride, value_page_stride, value_stride, n_key;
    int type;
} attention_head;

APR_INLINE ptrdiff_t page_of(const attention_head *h, ptrdiff_t position) {
    return h->pages ? h->pages[position / APR_PANEL] : position / APR_PANEL;
}

APR_INLINE float element_to_float(const void *p, ptrdiff_t i, int type) {
    const void *at = element_at(p, i, type);
    return type == APR_FLOAT32   ? *(const float *)at
           : type == APR_FLOAT16 ? apr_half_to_float(*(const uint16_t *)at)
                                 : (float)*(const int8_t *)at;
}

/* Copy the keys and values of one head as float32: keys (n_page, d_head, 16) and values (n_page * 16, d_value),
 * zero-padded. */
static void gather_head(const attention_work *work, ptrdiff_t row, ptrdiff_t head, ptrdiff_t n_key,
                        float *APR_RESTRICT keys, float *APR_RESTRICT values) {
    const apr_attention *a = work->a;
    ptrdiff_t d_head = a->d_head, d_value = work->d_value, n_slot = div_up(n_key, APR_PANEL) * APR_PANEL;
    for (ptrdiff_t key = 0; key < n_slot; key++) {
        float *k = keys + key / APR_PANEL * APR_PANEL * d_head + key % APR_PANEL, *v = values + key * d_value;
        ptrdiff_t filled = key < n_key ? d_head : 0;
        if (filled && a->pages) {
            ptrdiff_t page = head * a->n_page + a->pages[row * a->pages_stride + key / APR_PANEL],
                      slot = page * APR_PANEL + key % APR_PANEL;
            const float *scales = a->type == APR_INT8 ? a->scales + slot : NULL;
            float k_scale = scales ? scales[0] : 1.0f,
                  v_scale = scales ? scales[a->n_head * a->n_page * APR_PANEL] : 1.0f;
            for (ptrdiff_t d = 0; d < d_head; d++) {
                k[d * APR_PANEL] =
                    k_scale * element_to_float(a->keys, key_index(page, key % APR_PANEL, d, d_head, a->type), a->type);
                v[d] = v_scale *
                       element_to_float(a->values, value_index(page, key % APR_PANEL, d, d_head, a->type), a->type);
            }
        } else if (filled) {
            const float *k_from = (const float *)a->keys + row * a->k_row + head * a->k_head + key * a->k_time;
            for (ptrdiff_t d = 0; d < d_head; d++) k[d * APR_PANEL] = k_from[d];
            memcpy(v, (const float *)a->values + row * a->v_row + head * a->v_head + key * a->v_time,
                   (size_t)d_head * sizeof(float));
        }
        for (ptrdiff_t d = filled; d < d_head; d++) k[d * APR_PANEL] = 0.0f;
        for (ptrdiff_t d = filled; d < d_value; d++) v[d] = 0.0f;
    }
}

/* acc[i][j] += x[i] * w[j]: one element of each query times adjacent vectors. */
APR_INLINE void query_block_fma(vf acc[][QUERY_BLOCK_VECTORS], const int rows, const int vectors, const int type,
                                const float *x, ptrdiff_t x_stride, const void *w) {
    vf part[QUERY_BLOCK_VECTORS];
    APR_UNROLL
    for (int j = 0; j < vectors; j++) part[j] = load_elements(w, j * LANES, type);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        vf query = vf_set1(x[i * x_stride]);
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(query, part[j], acc[i][j]);
    }
}

APR_INLINE void query_block_zero(vf acc[][QUERY_BLOCK_VECTORS], const int rows, const int vectors) {
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_zero();
    }
}

/* Compute scores[i][page * 16 + key] for i < rows, from scaled queries q (rows, d_head). Each page is read
 * sequentially, because memory bandwidth is the limit. */
APR_INLINE void query_block_scores(const attention_head *h, const int rows, const int vectors, const int type,
                                   const float *q, ptrdiff_t d_head, float *scores, ptrdiff_t score_stride) {
    const int prefetch_lines = apr_zen5;
    ptrdiff_t n_slot = div_up(h->n_key, APR_PANEL) * APR_PANEL;
    for (ptrdiff_t key = 0; key < n_slot; key += vectors * LANES) {
        vf acc[SCORE_ACCUMULATORS][SMALL_M_ROWS][QUERY_BLOCK_VECTORS];
        ptrdiff_t page = page_of(h, key), d = 0;
        const void *keys = element_at(h->keys, page * h->page_stride + key % APR_PANEL, type);
        APR_UNROLL
        for (int p = 0; p < SCORE_ACCUMULATORS; p++) query_block_zero(acc[p], rows, vectors);
        for (; d + SCORE_ACCUMULATORS <= d_head; d += SCORE_ACCUMULATORS) {
            if (prefetch_lines)
                prefetch_stream(element_at(keys, d * APR_PANEL, type),
                                SCORE_ACCUMULATORS * APR_PANEL * (int)type_size(type));
            APR_UNROLL
            for (int p = 0; p < SCORE_ACCUMULATORS; p++)
                query_block_fma(acc[p], rows, vectors, type, q + d + p, d_head,
                                element_at(keys, (d + p) * APR_PANEL, type));
        }
        for (; d < d_head; d++)
            query_block_fma(acc[0], rows, vectors, type, q + d, d_head, element_at(keys, d * APR_PANEL, type));
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                if (SCORE_ACCUMULATORS == 2) acc[0][i][j] = vf_add(acc[0][i][j], acc[SCORE_ACCUMULATORS - 1][i][j]);
                vf_store(scores + i * score_stride + key + j * LANES, acc[0][i][j]);
            }
        }
    }
}

/* Compute out[i] = sum over keys of weights[i][key] * values[key]. The values are read sequentially, unless one pass
 * takes only part of each row. */
APR_INLINE void query_block_values(const attention_head *h, const int rows, const int vectors, const int type,
                                   const float *weights, ptrdiff_t weight_stride, ptrdiff_t d_head, float *out,
                                   ptrdiff_t out_stride) {
    const int prefetch_lines = apr_zen5;
    for (ptrdiff_t d = 0; d < d_head; d += vectors * LANES) {
        vf acc[SMALL_M_ROWS][QUERY_BLOCK_VECTORS];
        ptrdiff_t ahead = VALUE_PREFETCH_PAGES * h->value_page_stride;
        query_block_zero(acc, rows, vectors);
        for (ptrdiff_t first = 0; first < h->n_key; first += APR_PANEL) {
            const void *values = element_at(h->values, page_of(h, first) * h->value_page_stride + d, type);
            ptrdiff_t end = min_size(first + APR_PANEL, h->n_key);
            APR_UNROLL_2
            for (ptrdiff_t key = first; key < end; key++) {
                const void *row = element_at(values, (key - first) * h->value_stride, type);
                if (vectors * LANES < h->value_stride) {
                    APR_UNROLL
                    for (int j = 0; j < vectors; j += CACHE_LINE / LANES / (int)type_size(type))
                        APR_PREFETCH_L2(element_at(row, ahead + j * LANES, type));
                } else if (prefetch_lines) {
                    prefetch_stream(row, vectors * LANES * (int)type_size(type));
                }
                query_block_fma(acc, rows, vectors, type, weights + key, weight_stride, row);
            }
        }
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                ptrdiff_t at = d + j * LANES;
                if (at < d_head) vf_store_n(out + i * out_stride + at, acc[i][j], d_head - at);
            }
        }
    }
}

static void query_block_attention(const attention_head *h, const apr_attention *a, int rows, const float *q,
                                  float *scores, ptrdiff_t score_stride, ptrdiff_t n_visible, float *out) {
    ptrdiff_t d_head = a->d_head, n_slot = div_up(h->n_key, APR_PANEL) * APR_PANEL;
#define FIRST(R) ((R) < SCORE_ROWS ? (R) : SCORE_ROWS)
#define WIDE(R) ((R) == 1 ? QUERY_BLOCK_VECTORS : (R) == 2 || (LANES == 16 && (R) <= 5) ? 4 : TILE_VECTORS)
#define NARROW(R) \
    (WIDE(R) * LANES < APR_PANEL ? WIDE(R) : APR_PANEL / LANES) /* divides the width of every row of values */
#define QUERY_BLOCK_TYPE(R, TYPE) \
    query_block_scores(h, FIRST(R), R <= 2 ? SCORE_VECTORS : SCORE_VECTORS_BLOCK, TYPE, q, d_head, scores, \
                       score_stride); \
    if (R > FIRST(R)) \
        query_block_scores(h, R - FIRST(R), SCORE_VECTORS_BLOCK, TYPE, q + FIRST(R) * d_head, d_head, \
                           scores + FIRST(R) * score_stride, score_stride); \
    for (ptrdiff_t i = 0; i < R; i++) \
        softmax_base2(scores + i * score_stride, a->causal ? max_size(1, n_visible + i) : n_visible, n_slot); \
    if (h->value_stride % (WIDE(R) * LANES) == 0) \
        query_block_values(h, R, WIDE(R), TYPE, scores, score_stride, d_head, out, a->out_time); \
    else query_block_values(h, R, NARROW(R), TYPE, scores, score_stride, d_head, out, a->out_time);
#define QUERY_BLOCK_CASE(R) \
    case R: \
        if (h->type == APR_FLOAT16) { \
            QUERY_BLOCK_TYPE(R, APR_FLOAT16) \
        } else { \
            QUERY_BLOCK_TYPE(R, APR_FLOAT32) \
        } \
        break;
    switch (rows) {
        QUERY_BLOCK_CASE(1)
        QUERY_BLOCK_CASE(2)
        QUERY_BLOCK_CASE(3)
        QUERY_BLOCK_CASE(4)
#if VF_TILE_ROWS > 4
        QUERY_BLOCK_CASE(5)
        QUERY_BLOCK_CASE(6)
#endif
#if VF_TILE_ROWS > 6
        QUERY_BLOCK_CASE(7)
        QUERY_BLOCK_CASE(8)
#endif
    }
#undef QUERY_BLOCK_CASE
#undef QUERY_BLOCK_TYPE
#undef FIRST
#undef NARROW
#undef WIDE
}

static ptrdiff_t query_block_floats(const attention_work *work) {
    return SMALL_M_ROWS * (div_up(work->n_key, APR_PANEL) * APR_PANEL + APR_PANEL + work->a->d_head);
}

static void attention_task(void *context, ptrdiff_t i, void *scratch) {
    const attention_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t part = i % work->n_part, head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    ptrdiff_t n_key = a->lengths ? a->lengths[row] : a->n_key, n_slot = div_up(n_key, APR_PANEL) * APR_PANEL;
    float scale = a->scale * LOG2_E, *workspace = scratch;
    attention_head h = {.n_key = n_key};
    if (work->gather) {
        float *values = workspace + n_slot * a->d_head;
        gather_head(work, row, head, n_key, workspace, values);
        h.keys = workspace;
        h.values = values;
        h.page_stride = APR_PANEL * a->d_head;
        h.value_page_stride = APR_PANEL * work->d_value;
        h.value_stride = work->d_value;
        workspace = values + n_slot * work->d_value;
    } else {
        ptrdiff_t page = APR_PANEL * a->d_head;
        h.keys = element_at(a->keys, head * a->n_page * page, a->type);
        h.values = element_at(a->values, head * a->n_page * page, a->type);
        h.pages = a->pages + row * a->pages_stride;
        h.page_stride = h.value_page_stride = page;
        h.value_stride = a->d_head;
        h.type = a->type;
    }
    const float *q = a->q + row * a->q_row + head * a->q_head;
    float *out = a->out + row * a->out_row + head * a->out_head;
    ptrdiff_t n_visible = a->causal ? n_key - a->n_query + 1 : n_key;
    ptrdiff_t n_block = div_up(a->n_query, SMALL_M_ROWS);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * SMALL_M_ROWS, n = min_size(SMALL_M_ROWS, a->n_query - first),
                  visible = a->causal ? n_visible + first : n_visible;
        ptrdiff_t score_stride = n_slot + APR_PANEL;
        float *queries = workspace + SMALL_M_ROWS * score_stride;
        for (ptrdiff_t t = 0; t < n; t++)
            for (ptrdiff_t d = 0; d < a->d_head; d++)
                queries[t * a->d_head + d] = q[(first + t) * a->q_time + d] * scale;
        query_block_attention(&h, a, (int)n, queries, workspace, score_stride, visible, out + first * a->out_time);
    }
}

static void attention(const apr_attention *a) {
    if (!a->pages && a->n_query > SMALL_M_ROWS) {
        encoder_attention(a);
        return;
    }
    if (int8_attention_supported(a)) {
        int8_attention(a);
        return;
    }
    attention_work work = {
        .a = a, .n_part = query_parts(a, SMALL_M_ROWS), .n_key = a->lengths ? longest_length(a) : a->n_key};
    work.d_value = div_up(a->d_head, APR_PANEL) * APR_PANEL;
    work.gather = !a->pages || work.d_value != a->d_head || a->type == APR_INT8;
    ptrdiff_t n_slot = div_up(work.n_key, APR_PANEL) * APR_PANEL;
    ptrdiff_t floats = query_block_floats(&work) + (work.gather ? n_slot * (a->d_head + work.d_value) : 0);
    apr_parallel(attention_task, &work, a->n_row * a->n_head * work.n_part, (size_t)floats * sizeof(float));
}

#endif
