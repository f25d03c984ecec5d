/* Attention: out = softmax(q keys^T * scale) values, a row, a head and a few queries at a time: over pages (a token, beams, a prompt), or where
 * there are few. Many queries over strided arrays (the encoder) are encoder_attention.inc.h's.
 *
 * Lanes are keys for the scores and dimensions for the sum; pages are read where they lie, strided arrays are gathered as pages first. What
 * a query gets does not depend on how many others there are, nor on other rows' lengths.
 * Scores are in units of log 2: the queries are scaled by log2(e) * scale beforehand. int8 pages are attention_int8.inc.h's, but for heads that it
 * does not take, which are gathered.
 */

enum {
    VALUES_AHEAD = 2,                                  /* pages */
    FEW_VECTORS = LANES > 8 || LANES == 1 ? 4 : 8,     /* of a row of values, for a single query: as many as the registers hold */
    SCORE_PARTS = LANES >= 8 ? 2 : 1,                  /* sums of one score: where a page has few vectors, they would wait for themselves */
    SCORE_VECTORS = LANES > 1 ? APR_PANEL / LANES : 4, /* of a page, for one or two queries */
    SCORE_VECTORS_MANY = SCORE_VECTORS < TILE_VECTORS ? SCORE_VECTORS : TILE_VECTORS, /* for more ... */
    SCORE_ROWS = SCORE_VECTORS_MANY * SCORE_PARTS > TILE_VECTORS ? THIN_ROWS / 2 : THIN_ROWS, /* ... and so many of them at once */
};

typedef struct attention_work {
    const apr_attention *a;
    ptrdiff_t n_part;  /* stretches of queries for each row and head */
    ptrdiff_t n_key;   /* of the longest row */
    ptrdiff_t d_value; /* d_head, rounded up to 16 */
    int gather;        /* keys and values are copied into scratch first */
} attention_work;

/* One head of one row as it is read: keys in panels (d_head, 16), values as (16, value_step) for each page. */
typedef struct attention_head {
    const void *keys, *values;
    const int32_t *pages; /* NULL: pages lie one after the other */
    ptrdiff_t page_step, value_page_step, value_step, n_key;
    int type;
} attention_head;

APR_INLINE ptrdiff_t page_of(const attention_head *h, ptrdiff_t position) {
    return h->pages ? h->pages[position / APR_PANEL] : position / APR_PANEL;
}

APR_INLINE float number_at(const void *p, ptrdiff_t i, int type) {
    const void *at = weight_at(p, i, type);
    return type == APR_FLOAT32 ? *(const float *)at : type == APR_FLOAT16 ? apr_half_to_float(*(const uint16_t *)at) : (float)*(const int8_t *)at;
}

/* Copy one head's keys and values as float32: keys (n_page, d_head, 16), values (n_page * 16, d_value), filled up with zeros. */
static void gather_head(const attention_work *work, ptrdiff_t row, ptrdiff_t head, ptrdiff_t n_key, float *APR_RESTRICT keys,
                        float *APR_RESTRICT values) {
    const apr_attention *a = work->a;
    ptrdiff_t d_head = a->d_head, d_value = work->d_value, n_slot = div_up(n_key, APR_PANEL) * APR_PANEL;
    for (ptrdiff_t key = 0; key < n_slot; key++) {
        float *k = keys + key / APR_PANEL * APR_PANEL * d_head + key % APR_PANEL, *v = values + key * d_value;
        ptrdiff_t filled = key < n_key ? d_head : 0;
        if (filled && a->pages) {
            ptrdiff_t page = head * a->n_page + a->pages[row * a->pages_stride + key / APR_PANEL], slot = page * APR_PANEL + key % APR_PANEL;
            const float *steps = a->type == APR_INT8 ? a->steps + slot : NULL;
            float k_step = steps ? steps[0] : 1.0f, v_step = steps ? steps[a->n_head * a->n_page * APR_PANEL] : 1.0f;
            for (ptrdiff_t d = 0; d < d_head; d++) {
                k[d * APR_PANEL] = k_step * number_at(a->keys, key_index(page, key % APR_PANEL, d, d_head, a->type), a->type);
                v[d] = v_step * number_at(a->values, value_index(page, key % APR_PANEL, d, d_head, a->type), a->type);
            }
        } else if (filled) {
            const float *k_from = (const float *)a->keys + row * a->k_row + head * a->k_head + key * a->k_time;
            for (ptrdiff_t d = 0; d < d_head; d++) k[d * APR_PANEL] = k_from[d];
            memcpy(v, (const float *)a->values + row * a->v_row + head * a->v_head + key * a->v_time, (size_t)d_head * sizeof(float));
        }
        for (ptrdiff_t d = filled; d < d_head; d++) k[d * APR_PANEL] = 0.0f;
        for (ptrdiff_t d = filled; d < d_value; d++) v[d] = 0.0f;
    }
}

/* acc[i][j] += x[i] * w[j]: one number of each query, and vectors that lie side by side. */
APR_INLINE void few_step(vf acc[][FEW_VECTORS], const int rows, const int vectors, const int type, const float *x, ptrdiff_t x_step, const void *w) {
    vf part[FEW_VECTORS];
    APR_UNROLL
    for (int j = 0; j < vectors; j++) part[j] = load_weight(w, j * LANES, type);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        vf number = vf_set1(x[i * x_step]);
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(number, part[j], acc[i][j]);
    }
}

APR_INLINE void few_zero(vf acc[][FEW_VECTORS], const int rows, const int vectors) {
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_zero();
    }
}

/* scores[i][page * 16 + key], i < rows, from scaled queries q (rows, d_head). Page after page, and each straight on: where memory decides, this
 * is a single stream. */
APR_INLINE void few_scores(const attention_head *h, const int rows, const int vectors, const int type, const float *q, ptrdiff_t d_head,
                           float *scores, ptrdiff_t score_step) {
    const int lines = apr_zen5;
    ptrdiff_t n_slot = div_up(h->n_key, APR_PANEL) * APR_PANEL;
    for (ptrdiff_t key = 0; key < n_slot; key += vectors * LANES) {
        vf acc[SCORE_PARTS][THIN_ROWS][FEW_VECTORS];
        ptrdiff_t page = page_of(h, key), d = 0;
        const void *keys = weight_at(h->keys, page * h->page_step + key % APR_PANEL, type);
        APR_UNROLL
        for (int p = 0; p < SCORE_PARTS; p++) few_zero(acc[p], rows, vectors);
        for (; d + SCORE_PARTS <= d_head; d += SCORE_PARTS) {
            if (lines) ask_lines(weight_at(keys, d * APR_PANEL, type), SCORE_PARTS * APR_PANEL * (int)type_size(type));
            APR_UNROLL
            for (int p = 0; p < SCORE_PARTS; p++)
                few_step(acc[p], rows, vectors, type, q + d + p, d_head, weight_at(keys, (d + p) * APR_PANEL, type));
        }
        for (; d < d_head; d++) few_step(acc[0], rows, vectors, type, q + d, d_head, weight_at(keys, d * APR_PANEL, type));
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                if (SCORE_PARTS == 2) acc[0][i][j] = vf_add(acc[0][i][j], acc[SCORE_PARTS - 1][i][j]);
                vf_store(scores + i * score_step + key + j * LANES, acc[0][i][j]);
            }
        }
    }
}

/* out[i] = sum over keys of weights[i][key] * values[key]. A single stream, but where one pass takes a part of each row alone. */
APR_INLINE void few_sum(const attention_head *h, const int rows, const int vectors, const int type, const float *weights,
                        ptrdiff_t weight_step, ptrdiff_t d_head, float *out, ptrdiff_t out_step) {
    const int lines = apr_zen5;
    for (ptrdiff_t d = 0; d < d_head; d += vectors * LANES) {
        vf acc[THIN_ROWS][FEW_VECTORS];
        ptrdiff_t ahead = VALUES_AHEAD * h->value_page_step;
        few_zero(acc, rows, vectors);
        for (ptrdiff_t first = 0; first < h->n_key; first += APR_PANEL) {
            const void *values = weight_at(h->values, page_of(h, first) * h->value_page_step + d, type);
            ptrdiff_t end = min_size(first + APR_PANEL, h->n_key);
            APR_UNROLL_2
            for (ptrdiff_t key = first; key < end; key++) {
                const void *row = weight_at(values, (key - first) * h->value_step, type);
                if (vectors * LANES < h->value_step) {
                    APR_UNROLL
                    for (int j = 0; j < vectors; j += LINE / LANES / (int)type_size(type)) APR_PREFETCH_L2(weight_at(row, ahead + j * LANES, type));
                } else if (lines) {
                    ask_lines(row, vectors * LANES * (int)type_size(type));
                }
                few_step(acc, rows, vectors, type, weights + key, weight_step, row);
            }
        }
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                ptrdiff_t at = d + j * LANES;
                if (at < d_head) vf_store_n(out + i * out_step + at, acc[i][j], d_head - at);
            }
        }
    }
}

static void few_rows(const attention_head *h, const apr_attention *a, int rows, const float *q, float *scores, ptrdiff_t score_step,
                     ptrdiff_t n_seen, float *out) {
    ptrdiff_t d_head = a->d_head, n_slot = div_up(h->n_key, APR_PANEL) * APR_PANEL;
#define FIRST(R) ((R) < SCORE_ROWS ? (R) : SCORE_ROWS)
#define WIDE(R) ((R) == 1 ? FEW_VECTORS : (R) == 2 || (LANES == 16 && (R) <= 5) ? 4 : TILE_VECTORS)
#define NARROW(R) (WIDE(R) * LANES < APR_PANEL ? WIDE(R) : APR_PANEL / LANES) /* every row of values is a multiple of these */
#define FEW_TYPE(R, TYPE) \
    few_scores(h, FIRST(R), R <= 2 ? SCORE_VECTORS : SCORE_VECTORS_MANY, TYPE, q, d_head, scores, score_step); \
    if (R > FIRST(R)) few_scores(h, R - FIRST(R), SCORE_VECTORS_MANY, TYPE, q + FIRST(R) * d_head, d_head, scores + FIRST(R) * score_step, score_step); \
    for (ptrdiff_t i = 0; i < R; i++) softmax_base2(scores + i * score_step, a->causal ? max_size(1, n_seen + i) : n_seen, n_slot); \
    if (h->value_step % (WIDE(R) * LANES) == 0) few_sum(h, R, WIDE(R), TYPE, scores, score_step, d_head, out, a->out_time); \
    else few_sum(h, R, NARROW(R), TYPE, scores, score_step, d_head, out, a->out_time);
#define FEW_CASE(R) \
    case R: \
        if (h->type == APR_FLOAT16) { \
            FEW_TYPE(R, APR_FLOAT16) \
        } else { \
            FEW_TYPE(R, APR_FLOAT32) \
        } \
        break;
    switch (rows) {
        FEW_CASE(1)
        FEW_CASE(2)
        FEW_CASE(3)
        FEW_CASE(4)
#if VF_TILE_ROWS > 4
        FEW_CASE(5)
        FEW_CASE(6)
#endif
#if VF_TILE_ROWS > 6
        FEW_CASE(7)
        FEW_CASE(8)
#endif
    }
#undef FEW_CASE
#undef FEW_TYPE
#undef FIRST
#undef NARROW
#undef WIDE
}

static ptrdiff_t few_floats(const attention_work *work) {
    return THIN_ROWS * (div_up(work->n_key, APR_PANEL) * APR_PANEL + APR_PANEL + work->a->d_head);
}

static void attention_task(void *context, ptrdiff_t i, void *scratch) {
    const attention_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t part = i % work->n_part, head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    ptrdiff_t n_key = a->lengths ? a->lengths[row] : a->n_key, n_slot = div_up(n_key, APR_PANEL) * APR_PANEL;
    float scale = a->scale * LOG2_E, *own = scratch;
    attention_head h = {.n_key = n_key};
    if (work->gather) {
        float *values = own + n_slot * a->d_head;
        gather_head(work, row, head, n_key, own, values);
        h.keys = own;
        h.values = values;
        h.page_step = APR_PANEL * a->d_head;
        h.value_page_step = APR_PANEL * work->d_value;
        h.value_step = work->d_value;
        own = values + n_slot * work->d_value;
    } else {
        ptrdiff_t page = APR_PANEL * a->d_head;
        h.keys = weight_at(a->keys, head * a->n_page * page, a->type);
        h.values = weight_at(a->values, head * a->n_page * page, a->type);
        h.pages = a->pages + row * a->pages_stride;
        h.page_step = h.value_page_step = page;
        h.value_step = a->d_head;
        h.type = a->type;
    }
    const float *q = a->q + row * a->q_row + head * a->q_head;
    float *out = a->out + row * a->out_row + head * a->out_head;
    ptrdiff_t n_seen = a->causal ? n_key - a->n_query + 1 : n_key;
    ptrdiff_t n_block = div_up(a->n_query, THIN_ROWS);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * THIN_ROWS, n = min_size(THIN_ROWS, a->n_query - first), seen = a->causal ? n_seen + first : n_seen;
        ptrdiff_t score_step = n_slot + APR_PANEL;
        float *queries = own + THIN_ROWS * score_step;
        for (ptrdiff_t t = 0; t < n; t++)
            for (ptrdiff_t d = 0; d < a->d_head; d++) queries[t * a->d_head + d] = q[(first + t) * a->q_time + d] * scale;
        few_rows(&h, a, (int)n, queries, own, score_step, seen, out + first * a->out_time);
    }
}

static void attention(const apr_attention *a) {
    if (!a->pages && a->n_query > THIN_ROWS) {
        many_attention(a);
        return;
    }
    if (int8_fits(a)) {
        int8_attention(a);
        return;
    }
    attention_work work = {.a = a, .n_part = query_stretches(a, THIN_ROWS), .n_key = a->lengths ? longest_row(a) : a->n_key};
    work.d_value = div_up(a->d_head, APR_PANEL) * APR_PANEL;
    work.gather = !a->pages || work.d_value != a->d_head || a->type == APR_INT8;
    ptrdiff_t n_slot = div_up(work.n_key, APR_PANEL) * APR_PANEL;
    ptrdiff_t floats = few_floats(&work) + (work.gather ? n_slot * (a->d_head + work.d_value) : 0);
    apr_parallel(attention_task, &work, a->n_row * a->n_head * work.n_part, (size_t)floats * sizeof(float));
}
