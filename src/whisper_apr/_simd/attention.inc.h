/* Attention: out = softmax(q keys^T * scale) values, a row, a head and a few queries at a time: over pages (a token, beams, a prompt), or where
 * there are few. Many queries over strided arrays (the encoder) are attention_many.inc.h's.
 *
 * Lanes are keys for the scores and dimensions for the sum; pages are read where they lie, strided arrays are gathered as pages first. What
 * a query gets does not depend on how many others there are, nor on other rows' lengths.
 * Scores are in units of log 2: the queries are scaled by log2(e) * scale beforehand.
 */

enum {
    ATTENTION_AHEAD = 4, /* pages of keys that are asked for before they are read, and half as many of values */
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
    int half;
} attention_head;

APR_INLINE const void *head_page(const attention_head *h, const void *base, ptrdiff_t page, ptrdiff_t step) {
    return weight_at(base, (h->pages ? h->pages[page] : page) * step, h->half);
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
            ptrdiff_t page = head * a->n_page + a->pages[row * a->pages_stride + key / APR_PANEL];
            ptrdiff_t k_at = page * d_head * APR_PANEL + key % APR_PANEL, v_at = (page * APR_PANEL + key % APR_PANEL) * d_head;
            if (a->is_half) {
                for (ptrdiff_t d = 0; d < d_head; d++) k[d * APR_PANEL] = apr_half_to_float(((const uint16_t *)a->keys)[k_at + d * APR_PANEL]);
                for (ptrdiff_t d = 0; d < d_head; d++) v[d] = apr_half_to_float(((const uint16_t *)a->values)[v_at + d]);
            } else {
                for (ptrdiff_t d = 0; d < d_head; d++) k[d * APR_PANEL] = ((const float *)a->keys)[k_at + d * APR_PANEL];
                memcpy(v, (const float *)a->values + v_at, (size_t)d_head * sizeof(float));
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

/* The hardware's prefetcher does not know how pages follow each other: how far, in elements, the page lies behind that is so many pages
 * further on. */
APR_INLINE ptrdiff_t page_ahead(const attention_head *h, ptrdiff_t page, ptrdiff_t pages, ptrdiff_t step) {
    ptrdiff_t later = min_size(page + pages, (h->n_key - 1) / APR_PANEL);
    return (h->pages ? h->pages[later] - h->pages[page] : later - page) * step;
}

/* scores[i][page * 16 + key], i < rows, from scaled queries q (rows, d_head) */
APR_INLINE void few_scores(const attention_head *h, const int rows, const int vectors, const int half, const float *q, ptrdiff_t d_head,
                           float *scores, ptrdiff_t score_step) {
    ptrdiff_t n_vector = div_up(h->n_key, APR_PANEL) * APR_PANEL / LANES;
    for (ptrdiff_t v = 0; v < n_vector; v += vectors) {
        vf acc[THIN_ROWS][THIN_VECTORS];
        const void *b[THIN_VECTORS];
        ptrdiff_t ahead = page_ahead(h, v * LANES / APR_PANEL, ATTENTION_AHEAD, h->page_step);
        APR_UNROLL
        for (int j = 0; j < vectors; j++) {
            ptrdiff_t key = min_size(v + j, n_vector - 1) * LANES;
            b[j] = weight_at(head_page(h, h->keys, key / APR_PANEL, h->page_step), key % APR_PANEL, half);
        }
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++) acc[i][j] = vf_zero();
        }
        tile_of(acc, rows, vectors, half, 0, q, d_head, 1, b, APR_PANEL, d_head, APR_PANEL, ahead);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < vectors; j++)
                if (v + j < n_vector) vf_store(scores + i * score_step + (v + j) * LANES, acc[i][j]);
        }
    }
}

/* The first n_seen scores become weights that sum to 1, the others 0. */
static void few_softmax(float *scores, ptrdiff_t n_seen, ptrdiff_t n_slot) {
    for (ptrdiff_t i = n_seen; i < n_slot; i++) scores[i] = -INFINITY;
    vf top = vf_load(scores), sum = vf_zero();
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) top = vf_max(vf_load(scores + i), top);
    vf shift = vf_set1(vf_largest(top));
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) {
        vf y = exp2_vector(vf_sub(vf_load(scores + i), shift));
        vf_store(scores + i, y);
        sum = vf_add(sum, y);
    }
    vf scale = vf_set1(1.0f / vf_sum(sum));
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) vf_store(scores + i, vf_mul(vf_load(scores + i), scale));
}

/* out[i][d .. d + vectors * LANES] = sum over keys of weights[i][key] * values[key] */
APR_INLINE void few_sum(const attention_head *h, const int rows, const int vectors, const int half, const float *weights,
                        ptrdiff_t weight_step, ptrdiff_t d, ptrdiff_t d_head, float *out, ptrdiff_t out_step) {
    vf acc[THIN_ROWS][THIN_VECTORS];
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_zero();
    }
    for (ptrdiff_t key = 0; key < h->n_key; key += APR_PANEL) {
        const void *page = head_page(h, h->values, key / APR_PANEL, h->value_page_step), *b[THIN_VECTORS];
        ptrdiff_t ahead = page_ahead(h, key / APR_PANEL, ATTENTION_AHEAD / 2, h->value_page_step), n = min_size(APR_PANEL, h->n_key - key);
        APR_UNROLL
        for (int j = 0; j < vectors; j++) b[j] = weight_at(page, min_size(d + j * LANES, h->value_step - LANES), half);
        tile_of(acc, rows, vectors, half, 0, weights + key, weight_step, 1, b, h->value_step, n, half ? 32 : 16, ahead);
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

static void few_rows(const attention_head *h, const apr_attention *a, int rows, const float *q, float *scores, ptrdiff_t score_step,
                     ptrdiff_t n_seen, float *out) {
    ptrdiff_t d_head = a->d_head, n_slot = div_up(h->n_key, APR_PANEL) * APR_PANEL;
#define FEW_HALF(R, HALF) \
    few_scores(h, R, R <= 2 ? THIN_VECTORS : TILE_VECTORS, HALF, q, d_head, scores, score_step); \
    for (ptrdiff_t i = 0; i < R; i++) few_softmax(scores + i * score_step, a->causal ? max_size(1, n_seen + i) : n_seen, n_slot); \
    for (ptrdiff_t d = 0; d < d_head; d += (R <= 2 ? THIN_VECTORS : TILE_VECTORS) * LANES) \
        few_sum(h, R, R <= 2 ? THIN_VECTORS : TILE_VECTORS, HALF, scores, score_step, d, d_head, out, a->out_time);
#define FEW_CASE(R) \
    case R: \
        if (h->half) { \
            FEW_HALF(R, 1) \
        } else { \
            FEW_HALF(R, 0) \
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
#undef FEW_HALF
}

static ptrdiff_t few_floats(const attention_work *work) {
    return THIN_ROWS * (div_up(work->n_key, APR_PANEL) * APR_PANEL + APR_PANEL + work->a->d_head);
}

static void attention_task(void *context, ptrdiff_t i, void *scratch) {
    const attention_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t part = i % work->n_part, head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    ptrdiff_t n_key = a->lengths ? a->lengths[row] : a->n_key, n_slot = div_up(n_key, APR_PANEL) * APR_PANEL;
    float scale = a->scale * 1.44269504088896340736f, *own = scratch;
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
        h.keys = weight_at(a->keys, head * a->n_page * page, a->is_half);
        h.values = weight_at(a->values, head * a->n_page * page, a->is_half);
        h.pages = a->pages + row * a->pages_stride;
        h.page_step = h.value_page_step = page;
        h.value_step = a->d_head;
        h.half = a->is_half;
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
    attention_work work = {.a = a, .n_part = 1, .n_key = a->n_key, .d_value = div_up(a->d_head, APR_PANEL) * APR_PANEL};
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    if (a->lengths) {
        work.n_key = 0;
        for (ptrdiff_t row = 0; row < a->n_row; row++) work.n_key = max_size(work.n_key, a->lengths[row]);
    }
    ptrdiff_t n_slot = div_up(work.n_key, APR_PANEL) * APR_PANEL;
    work.gather = !a->pages || work.d_value != a->d_head;
    /* a second stretch of queries gathers the same keys and values again: only where heads do not share out evenly */
    if (n_pair % n_thread && n_pair < 8 * n_thread) work.n_part = min_size(n_thread, div_up(a->n_query, THIN_ROWS));
    ptrdiff_t floats = few_floats(&work) + (work.gather ? n_slot * (a->d_head + work.d_value) : 0);
    apr_parallel(attention_task, &work, n_pair * work.n_part, (size_t)floats * sizeof(float));
}

/* ---- the cache --------------------------------------------------------------------------------------------------- */

APR_INLINE void store_weight(void *p, ptrdiff_t i, float x, int half) {
    if (half) ((uint16_t *)p)[i] = apr_float_to_half(x);
    else ((float *)p)[i] = x;
}

/* One head of one row, page by page. The inner loop over the keys runs over the slots of a page, whose cells lie side by side there. */
static void store_task(void *context, ptrdiff_t i, void *scratch) {
    const apr_store *s = context;
    ptrdiff_t row = i / s->n_head, head = i % s->n_head, end = s->lengths[row], start = end - (s->counts ? s->counts[row] : s->n_new);
    const float *k = s->k + row * s->k_row + head * s->d_head, *v = s->v + row * s->v_row + head * s->d_head;
    ptrdiff_t before = s->n_new - end; /* position p is number p + before of k and v */
    (void)scratch;
    for (ptrdiff_t from = start, to; from < end; from = to) {
        to = min_size(end, (from / APR_PANEL + 1) * APR_PANEL);
        ptrdiff_t at = (head * s->n_page + s->pages[row * s->pages_stride + from / APR_PANEL]) * s->d_head * APR_PANEL;
        for (ptrdiff_t d = 0; d < s->d_head; d++)
            for (ptrdiff_t t = from; t < to; t++) store_weight(s->keys, at + d * APR_PANEL + t % APR_PANEL, k[(t + before) * s->k_time + d], s->is_half);
        for (ptrdiff_t t = from; t < to; t++)
            for (ptrdiff_t d = 0; d < s->d_head; d++) store_weight(s->values, at + t % APR_PANEL * s->d_head + d, v[(t + before) * s->v_time + d], s->is_half);
    }
}

static void store(const apr_store *s) {
    apr_store work = *s;
    apr_parallel(store_task, &work, s->n_row * s->n_head, 0);
}
