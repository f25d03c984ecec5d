/* Attention: out = softmax(q keys^T * scale) values, a row, a head and a stretch of queries at a time.
 *
 * Over pages (a token, beams, a prompt), a few queries at a time: lanes are keys for the scores and dimensions for the sum; pages are
 * read where they lie. What a query gets there does not depend on how many others there are, nor on other rows' lengths.
 * Many queries over strided arrays (the encoder): lanes are queries, so that the softmax needs no sum across lanes; it runs along, block
 * of keys by block of keys, and the scores of one block are all that is kept. Keys and values are first gathered as float32.
 * Scores are in units of log 2: the queries are scaled by log2(e) * scale beforehand.
 */

enum {
    ATTENTION_VECTORS = TILE_ROWS == 6 ? 3 : 2,      /* of queries: with the rows below, what the registers hold */
    ATTENTION_QUERIES = ATTENTION_VECTORS * LANES,   /* queries side by side in the lanes */
    ATTENTION_ROWS = TILE_ROWS >= 8 ? 8 : 4,         /* keys, or dimensions, of a register block; divides 16 */
    ATTENTION_AHEAD = 4,                             /* pages of keys that are asked for before they are read, and half as many of values */
    ATTENTION_BLOCK = 128,                           /* keys whose scores are kept at a time */
};

typedef struct attention_work {
    const apr_attention *a;
    ptrdiff_t n_part;  /* stretches of queries for each row and head */
    ptrdiff_t n_key;   /* of the longest row */
    ptrdiff_t d_value; /* d_head, rounded up to 16 */
    int few, gather;   /* gather: keys and values are copied into scratch first */
} attention_work;

/* One head of one row as the two ways read it: keys in panels (d_head, 16), values as (16, value_step) for each page. */
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
            ptrdiff_t page = a->pages[row * a->pages_stride + key / APR_PANEL] * a->n_head + head;
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

/* ---- few queries ------------------------------------------------------------------------------------------------- */

/* Pages of one head do not follow each other in memory, which the hardware's prefetcher would need: how far, in elements, the page lies
 * behind that is so many pages further on. */
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

/* ---- many queries ------------------------------------------------------------------------------------------------ */

/* ATTENTION_ROWS rows of c (rows, ATTENTION_QUERIES): what lies there, or nothing where `fresh`, plus a b. A function of its own: the
 * compiler then finds registers for everything. */
APR_INLINE void many_tile(const int fresh, const float *a, ptrdiff_t a_step, const float *b, ptrdiff_t k, float *c) {
    vf acc[ATTENTION_ROWS][THIN_VECTORS];
    const void *vectors[ATTENTION_VECTORS];
    APR_UNROLL
    for (int j = 0; j < ATTENTION_VECTORS; j++) vectors[j] = b + j * LANES;
    APR_UNROLL
    for (int i = 0; i < ATTENTION_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < ATTENTION_VECTORS; j++) acc[i][j] = fresh ? vf_zero() : vf_load(c + i * ATTENTION_QUERIES + j * LANES);
    }
    tile(acc, ATTENTION_ROWS, ATTENTION_VECTORS, 0, a, 1, a_step, vectors, ATTENTION_QUERIES, k);
    APR_UNROLL
    for (int i = 0; i < ATTENTION_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < ATTENTION_VECTORS; j++) vf_store(c + i * ATTENTION_QUERIES + j * LANES, acc[i][j]);
    }
}

APR_NOINLINE static void many_scores(const float *a, ptrdiff_t a_step, const float *b, ptrdiff_t k, float *c) { many_tile(1, a, a_step, b, k, c); }
APR_NOINLINE static void many_sums(const float *a, ptrdiff_t a_step, const float *b, ptrdiff_t k, float *c) { many_tile(0, a, a_step, b, k, c); }

/* Those of the scores (n, ATTENTION_QUERIES) of keys key0 .. key0 + n that a query does not see: it sees n_seen keys. */
static void many_hide(float *scores, ptrdiff_t n, ptrdiff_t key0, const vf *n_seen) {
    for (ptrdiff_t t = 0; t < n; t++)
        for (int j = 0; j < ATTENTION_VECTORS; j++) {
            float *s = scores + t * ATTENTION_QUERIES + j * LANES;
            vf_store(s, vf_select_lt(vf_set1((float)(key0 + t)), n_seen[j], vf_load(s), vf_set1(-INFINITY)));
        }
}

/* The scores (n, ATTENTION_QUERIES) become exp2(score - top); top and sum go along, keep is what older sums are scaled by. */
static void many_softmax(float *scores, ptrdiff_t n, vf *top, vf *sum, vf *keep) {
    vf best[ATTENTION_VECTORS], total[ATTENTION_VECTORS];
    APR_UNROLL
    for (int j = 0; j < ATTENTION_VECTORS; j++) best[j] = top[j];
    for (ptrdiff_t t = 0; t < n; t++) {
        APR_UNROLL
        for (int j = 0; j < ATTENTION_VECTORS; j++) best[j] = vf_max(vf_load(scores + t * ATTENTION_QUERIES + j * LANES), best[j]);
    }
    APR_UNROLL
    for (int j = 0; j < ATTENTION_VECTORS; j++) {
        keep[j] = exp2_vector(vf_sub(top[j], best[j]));
        total[j] = vf_mul(sum[j], keep[j]);
    }
    for (ptrdiff_t t = 0; t < n; t++) {
        APR_UNROLL
        for (int j = 0; j < ATTENTION_VECTORS; j++) {
            vf y = exp2_vector(vf_sub(vf_load(scores + t * ATTENTION_QUERIES + j * LANES), best[j]));
            vf_store(scores + t * ATTENTION_QUERIES + j * LANES, y);
            total[j] = vf_add(total[j], y);
        }
    }
    APR_UNROLL
    for (int j = 0; j < ATTENTION_VECTORS; j++) {
        top[j] = best[j];
        sum[j] = total[j];
    }
}

/* n_query <= ATTENTION_QUERIES queries of one head; n_seen: how many keys the first of them sees */
static void many_queries(const attention_head *h, const apr_attention *a, const float *q, ptrdiff_t n_query, ptrdiff_t n_seen, float scale,
                         float *APR_RESTRICT scratch, float *out) {
    ptrdiff_t d_head = a->d_head, d_value = h->value_step;
    float *turned = scratch, *scores = turned + d_head * ATTENTION_QUERIES, *sums = scores + ATTENTION_BLOCK * ATTENTION_QUERIES;
    float lane[ATTENTION_QUERIES];
    vf top[ATTENTION_VECTORS], total[ATTENTION_VECTORS], keep[ATTENTION_VECTORS], seen[ATTENTION_VECTORS];
    for (ptrdiff_t i = 0; i < ATTENTION_QUERIES; i++) {
        lane[i] = (float)max_size(1, n_seen + i);
        for (ptrdiff_t d = 0; d < d_head; d++) turned[d * ATTENTION_QUERIES + i] = i < n_query ? q[i * a->q_time + d] * scale : 0.0f;
    }
    for (int j = 0; j < ATTENTION_VECTORS; j++) {
        top[j] = vf_set1(-INFINITY);
        total[j] = vf_zero();
        seen[j] = vf_load(lane + j * LANES);
    }
    ptrdiff_t n_key = a->causal ? min_size(h->n_key, n_seen + n_query - 1) : h->n_key;
    for (ptrdiff_t key0 = 0; key0 < n_key; key0 += ATTENTION_BLOCK) {
        ptrdiff_t n = min_size(ATTENTION_BLOCK, n_key - key0);
        for (ptrdiff_t t = 0; t < n; t += ATTENTION_ROWS) {
            const float *panel = (const float *)h->keys + (key0 + t) / APR_PANEL * h->page_step + (key0 + t) % APR_PANEL;
            many_scores(panel, APR_PANEL, turned, d_head, scores + t * ATTENTION_QUERIES);
        }
        if (a->causal && key0 + n > n_seen) many_hide(scores, n, key0, seen);
        many_softmax(scores, n, top, total, keep);
        for (ptrdiff_t d = 0; d < d_value; d++)
            for (int j = 0; j < ATTENTION_VECTORS; j++) {
                float *sum = sums + d * ATTENTION_QUERIES + j * LANES;
                vf_store(sum, key0 ? vf_mul(vf_load(sum), keep[j]) : vf_zero());
            }
        for (ptrdiff_t d = 0; d < d_value; d += ATTENTION_ROWS)
            many_sums((const float *)h->values + key0 * d_value + d, d_value, scores, n, sums + d * ATTENTION_QUERIES);
    }
    for (int j = 0; j < ATTENTION_VECTORS; j++) vf_store(lane + j * LANES, vf_div(vf_set1(1.0f), total[j]));
    for (ptrdiff_t i = 0; i < n_query; i++)
        for (ptrdiff_t d = 0; d < d_head; d++) out[i * a->out_time + d] = sums[d * ATTENTION_QUERIES + i] * lane[i];
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static ptrdiff_t few_floats(const attention_work *work) {
    return THIN_ROWS * (div_up(work->n_key, APR_PANEL) * APR_PANEL + APR_PANEL + work->a->d_head);
}

static ptrdiff_t many_floats(const attention_work *work) {
    return (work->a->d_head + ATTENTION_BLOCK + work->d_value) * ATTENTION_QUERIES;
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
        h.keys = weight_at(a->keys, head * page, a->is_half);
        h.values = weight_at(a->values, head * page, a->is_half);
        h.pages = a->pages + row * a->pages_stride;
        h.page_step = h.value_page_step = a->n_head * page;
        h.value_step = a->d_head;
        h.half = a->is_half;
    }
    const float *q = a->q + row * a->q_row + head * a->q_head;
    float *out = a->out + row * a->out_row + head * a->out_head;
    ptrdiff_t n_seen = a->causal ? n_key - a->n_query + 1 : n_key;
    ptrdiff_t block_size = work->few ? THIN_ROWS : ATTENTION_QUERIES, n_block = div_up(a->n_query, block_size);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * block_size, n = min_size(block_size, a->n_query - first), seen = a->causal ? n_seen + first : n_seen;
        if (!work->few) {
            many_queries(&h, a, q + first * a->q_time, n, seen, scale, own, out + first * a->out_time);
            continue;
        }
        ptrdiff_t score_step = n_slot + APR_PANEL;
        float *queries = own + THIN_ROWS * score_step;
        for (ptrdiff_t t = 0; t < n; t++)
            for (ptrdiff_t d = 0; d < a->d_head; d++) queries[t * a->d_head + d] = q[(first + t) * a->q_time + d] * scale;
        few_rows(&h, a, (int)n, queries, own, score_step, seen, out + first * a->out_time);
    }
}

static void attention(const apr_attention *a) {
    attention_work work = {.a = a, .n_part = 1, .n_key = a->n_key, .d_value = div_up(a->d_head, APR_PANEL) * APR_PANEL};
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    if (a->lengths) {
        work.n_key = 0;
        for (ptrdiff_t row = 0; row < a->n_row; row++) work.n_key = max_size(work.n_key, a->lengths[row]);
    }
    ptrdiff_t n_slot = div_up(work.n_key, APR_PANEL) * APR_PANEL;
    work.few = a->pages || a->n_query <= THIN_ROWS;
    work.gather = !a->pages || work.d_value != a->d_head;
    /* a second stretch of queries gathers the same keys and values again: only where heads do not share out evenly */
    if (n_pair % n_thread && n_pair < 8 * n_thread) work.n_part = min_size(n_thread, div_up(a->n_query, work.few ? THIN_ROWS : ATTENTION_QUERIES));
    ptrdiff_t floats = (work.few ? few_floats(&work) : many_floats(&work)) + (work.gather ? n_slot * (a->d_head + work.d_value) : 0);
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
        ptrdiff_t at = (s->pages[row * s->pages_stride + from / APR_PANEL] * s->n_head + head) * s->d_head * APR_PANEL;
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
