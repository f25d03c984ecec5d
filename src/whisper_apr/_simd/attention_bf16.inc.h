/* Attention of many queries over strided arrays, where products are of pairs of bfloat16: attention.inc.h's second way, halved.
 *
 * Queries, keys, values and the softmax's weights are rounded to bfloat16; sums and the softmax are float32. Lanes are queries. A product
 * sums over pairs: the scores over two dimensions at a time, the values over two keys at a time. A row's weights sum to 1 as they
 * are after rounding. Scores are in units of log 2: the queries are scaled by log2(e) * scale before they are rounded.
 */

enum {
    PAIR_VECTORS = 2,                    /* of queries, and ... */
    PAIR_ROWS = 8,                       /* ... keys or dimensions: a register block; 16 sums hide the instruction's latency */
    PAIR_QUERIES = PAIR_VECTORS * LANES, /* queries side by side in the lanes */
    PAIR_BLOCK = 128,                    /* keys whose scores are kept at a time */
    PAIR_TASKS = 4,                      /* for each thread, so that none waits long for another; each gathers its head's keys and values */
};

/* One head, gathered. n_slot: keys, rounded up to PAIR_ROWS; d_pair: pairs of dimensions, rounded up to LANES; d_value: dimensions, to 2 * LANES */
typedef struct pair_head {
    uint32_t *keys;   /* (n_slot, d_pair): (k[2i], k[2i + 1]) */
    uint32_t *values; /* (n_slot / 2, d_value): (v[key], v[key + 1]) */
    ptrdiff_t n_slot, d_pair, d_value;
} pair_head;

typedef struct pair_work {
    const apr_attention *a;
    ptrdiff_t n_part; /* stretches of queries for each row and head */
    pair_head h;      /* sizes only */
} pair_work;

/* n numbers times scale as pairs (d_pair), zeros behind them */
APR_INLINE void round_pairs(const float *x, ptrdiff_t n, float scale, uint32_t *out, ptrdiff_t d_pair) {
    vf factor = vf_set1(scale);
    for (ptrdiff_t d = 0; d < 2 * d_pair; d += 2 * LANES) {
        vf low = vf_load_n(x + d, n - d), high = n > d + LANES ? vf_load_n(x + d + LANES, n - d - LANES) : vf_zero();
        vb_store(out + d / 2, vb_round(vf_mul(low, factor), vf_mul(high, factor)));
    }
}

static void pair_gather(const apr_attention *a, const pair_head *h, const float *k, const float *v) {
    for (ptrdiff_t key = 0; key < h->n_slot; key++) {
        ptrdiff_t n = key < a->n_key ? a->d_head : 0;
        for (ptrdiff_t d = 0; d < 2 * h->d_pair; d += 2 * LANES) {
            uint32_t *to = h->keys + key * h->d_pair + d / 2;
            const float *from = k + key * a->k_time + d;
            vf low = n > d ? vf_load_n(from, n - d) : vf_zero(), high = n > d + LANES ? vf_load_n(from + LANES, n - d - LANES) : vf_zero();
            vb_store(to, vb_round(low, high));
        }
    }
    for (ptrdiff_t key = 0; key < h->n_slot; key += 2) {
        const float *first = v + key * a->v_time, *second = first + a->v_time;
        for (ptrdiff_t d = 0; d < h->d_value; d += LANES) {
            ptrdiff_t left = a->d_head - d;
            vf x = left > 0 && key < a->n_key ? vf_load_n(first + d, left) : vf_zero();
            vf y = left > 0 && key + 1 < a->n_key ? vf_load_n(second + d, left) : vf_zero();
            vb_store(h->values + key / 2 * h->d_value + d, vb_pair(x, y));
        }
    }
}

/* acc[i][j] += sum over s < k of the pairs a[i * a_row + s * a_step] and b (k, PAIR_QUERIES) */
APR_INLINE void pair_tile(vf acc[][PAIR_VECTORS], const uint32_t *a, ptrdiff_t a_row, ptrdiff_t a_step, const uint32_t *b, ptrdiff_t k) {
    for (ptrdiff_t s = 0; s < k; s++) {
        vb x[PAIR_VECTORS];
        APR_UNROLL
        for (int j = 0; j < PAIR_VECTORS; j++) x[j] = vb_load(b + s * PAIR_QUERIES + j * LANES);
        APR_UNROLL
        for (int i = 0; i < PAIR_ROWS; i++) {
            vb y = vb_set1(a[i * a_row + s * a_step]);
            APR_UNROLL
            for (int j = 0; j < PAIR_VECTORS; j++) acc[i][j] = vb_dot(acc[i][j], y, x[j]);
        }
    }
}

/* Scores (PAIR_ROWS, PAIR_QUERIES) of as many keys; best (PAIR_QUERIES) goes along. */
APR_NOINLINE static void pair_scores(const uint32_t *keys, ptrdiff_t d_pair, const uint32_t *queries, ptrdiff_t k, float *scores, float *best) {
    vf acc[PAIR_ROWS][PAIR_VECTORS];
    APR_UNROLL
    for (int i = 0; i < PAIR_ROWS * PAIR_VECTORS; i++) acc[i / PAIR_VECTORS][i % PAIR_VECTORS] = vf_zero();
    pair_tile(acc, keys, d_pair, 1, queries, k);
    APR_UNROLL
    for (int j = 0; j < PAIR_VECTORS; j++) {
        vf most = vf_load(best + j * LANES);
        APR_UNROLL
        for (int i = 0; i < PAIR_ROWS; i++) {
            vf_store(scores + i * PAIR_QUERIES + j * LANES, acc[i][j]);
            most = vf_max(acc[i][j], most);
        }
        vf_store(best + j * LANES, most);
    }
}

/* Sums (PAIR_ROWS, PAIR_QUERIES) of as many dimensions: what lies there times keep (PAIR_QUERIES), plus the weighted values of 2 k keys. */
APR_NOINLINE static void pair_sums(const uint32_t *values, ptrdiff_t d_value, const uint32_t *weights, ptrdiff_t k, const float *keep, float *sums) {
    vf acc[PAIR_ROWS][PAIR_VECTORS];
    APR_UNROLL
    for (int i = 0; i < PAIR_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < PAIR_VECTORS; j++) acc[i][j] = vf_mul(vf_load(sums + i * PAIR_QUERIES + j * LANES), vf_load(keep + j * LANES));
    }
    pair_tile(acc, values, 1, d_value, weights, k);
    APR_UNROLL
    for (int i = 0; i < PAIR_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < PAIR_VECTORS; j++) vf_store(sums + i * PAIR_QUERIES + j * LANES, acc[i][j]);
    }
}

/* Of the scores of n keys from key0 on, those that a query does not see vanish: it sees n_seen (PAIR_QUERIES) keys. best is what remains. */
static void pair_hide(float *scores, ptrdiff_t n, ptrdiff_t key0, const float *n_seen, const float *top, float *best) {
    for (int j = 0; j < PAIR_VECTORS; j++) {
        vf most = vf_load(top + j * LANES), seen = vf_load(n_seen + j * LANES);
        for (ptrdiff_t t = 0; t < n; t++) {
            float *s = scores + t * PAIR_QUERIES + j * LANES;
            vf x = vf_select_lt(vf_set1((float)(key0 + t)), seen, vf_load(s), vf_set1(-INFINITY));
            vf_store(s, x);
            most = vf_max(x, most);
        }
        vf_store(best + j * LANES, most);
    }
}

/* 2^x for x <= 0 with a relative error of 7.5e-5, which is little beside the rounding to bfloat16 that follows. Minimax on [-1/2, 1/2]. */
APR_INLINE vf exp2_roughly(vf x) {
    x = vf_max(vf_set1(VF_SCALE_LOWEST), x); /* in this order a NaN stays one */
    vf n = vf_round(x), r = vf_sub(x, n);
    vf y = vf_fma(vf_set1(0.0551716691f), r, vf_set1(0.242611122f));
    y = vf_fma(y, r, vf_set1(0.693260985f));
    return vf_scale(vf_fma(y, r, vf_set1(0.999928074f)), n);
}

/* Scores (2 k, PAIR_QUERIES) -> pairs of weights (k, PAIR_QUERIES) in the same place, exp2(score - best) rounded; total (PAIR_QUERIES) goes along. */
APR_NOINLINE static void pair_weights(float *scores, ptrdiff_t k, const float *best, float *total) {
    vb ones = vb_pair(vf_set1(1.0f), vf_set1(1.0f));
    uint32_t *weights = (uint32_t *)(void *)scores;
    vf shift[PAIR_VECTORS], sum[PAIR_VECTORS];
    APR_UNROLL
    for (int j = 0; j < PAIR_VECTORS; j++) {
        shift[j] = vf_load(best + j * LANES);
        sum[j] = vf_load(total + j * LANES);
    }
    for (ptrdiff_t t = 0; t < k; t++) {
        const float *from = scores + 2 * t * PAIR_QUERIES;
        vf first[PAIR_VECTORS], second[PAIR_VECTORS];
        APR_UNROLL
        for (int j = 0; j < PAIR_VECTORS; j++) {
            first[j] = exp2_roughly(vf_sub(vf_load(from + j * LANES), shift[j]));
            second[j] = exp2_roughly(vf_sub(vf_load(from + PAIR_QUERIES + j * LANES), shift[j]));
        }
        APR_UNROLL
        for (int j = 0; j < PAIR_VECTORS; j++) {
            vb pair = vb_pair(first[j], second[j]);
            vb_store(weights + t * PAIR_QUERIES + j * LANES, pair);
            sum[j] = vb_dot(sum[j], pair, ones);
        }
    }
    APR_UNROLL
    for (int j = 0; j < PAIR_VECTORS; j++) vf_store(total + j * LANES, sum[j]);
}

/* out[s][i] = x[i][s] for rows x (n, step) of 32 bits: whole squares of 4 */
APR_INLINE void turn(const float *x, ptrdiff_t n, ptrdiff_t step, float *out, ptrdiff_t n_out, ptrdiff_t out_step) {
    for (ptrdiff_t i = 0; i < n; i += 4)
        for (ptrdiff_t s = 0; s < n_out; s += 4) vf_turn4(x + i * step + s, step, out + s * out_step + i, out_step);
}

static ptrdiff_t pair_floats(const pair_head *h) { return (3 * h->d_pair + PAIR_BLOCK + 2 * h->d_value) * PAIR_QUERIES; }

/* n_query <= PAIR_QUERIES queries; n_seen: how many keys the first of them sees, where attention is causal */
static void pair_queries(const pair_head *h, const apr_attention *a, const float *q, ptrdiff_t n_query, ptrdiff_t n_seen, float *scratch, float *out) {
    float *rows = scratch, *turned = rows + h->d_pair * PAIR_QUERIES, *scores = turned + h->d_pair * PAIR_QUERIES;
    float *sums = scores + PAIR_BLOCK * PAIR_QUERIES, *finished = sums + h->d_value * PAIR_QUERIES;
    const uint32_t *queries = (const uint32_t *)(const void *)turned;
    float seen[PAIR_QUERIES], top[PAIR_QUERIES], best[PAIR_QUERIES], total[PAIR_QUERIES], keep[PAIR_QUERIES];
    ptrdiff_t k = div_up(a->d_head, 2), n_key = a->causal ? min_size(a->n_key, n_seen + n_query - 1) : a->n_key;
    for (ptrdiff_t i = 0; i < PAIR_QUERIES; i++) {
        seen[i] = (float)(a->causal ? min_size(max_size(1, n_seen + i), n_key) : n_key);
        top[i] = best[i] = -INFINITY;
        total[i] = 0.0f;
        round_pairs(q + i * a->q_time, i < n_query ? a->d_head : 0, a->scale * 1.44269504088896340736f, (uint32_t *)(void *)rows + i * h->d_pair, h->d_pair);
    }
    turn(rows, PAIR_QUERIES, h->d_pair, turned, h->d_pair, PAIR_QUERIES);
    memset(sums, 0, (size_t)(h->d_value * PAIR_QUERIES) * sizeof(float));
    for (ptrdiff_t key0 = 0; key0 < n_key; key0 += PAIR_BLOCK) {
        ptrdiff_t n = min_size(PAIR_BLOCK, n_key - key0), slots = div_up(n, PAIR_ROWS) * PAIR_ROWS;
        for (ptrdiff_t t = 0; t < slots; t += PAIR_ROWS)
            pair_scores(h->keys + (key0 + t) * h->d_pair, h->d_pair, queries, k, scores + t * PAIR_QUERIES, best);
        if (slots > n || (a->causal && key0 + n > n_seen)) pair_hide(scores, slots, key0, seen, top, best);
        for (int j = 0; j < PAIR_VECTORS; j++) {
            vf scale = exp2_vector(vf_sub(vf_load(top + j * LANES), vf_load(best + j * LANES)));
            vf_store(keep + j * LANES, scale);
            vf_store(total + j * LANES, vf_mul(vf_load(total + j * LANES), scale));
        }
        memcpy(top, best, sizeof top);
        pair_weights(scores, slots / 2, best, total);
        for (ptrdiff_t d = 0; d < a->d_head; d += PAIR_ROWS)
            pair_sums(h->values + key0 / 2 * h->d_value + d, h->d_value, (const uint32_t *)(const void *)scores, slots / 2, keep, sums + d * PAIR_QUERIES);
    }
    for (int j = 0; j < PAIR_VECTORS; j++) {
        vf share = vf_div(vf_set1(1.0f), vf_load(total + j * LANES));
        for (ptrdiff_t d = 0; d < a->d_head; d++) vf_store(sums + d * PAIR_QUERIES + j * LANES, vf_mul(vf_load(sums + d * PAIR_QUERIES + j * LANES), share));
    }
    turn(sums, h->d_value, PAIR_QUERIES, finished, PAIR_QUERIES, h->d_value);
    for (ptrdiff_t i = 0; i < n_query; i++) memcpy(out + i * a->out_time, finished + i * h->d_value, (size_t)a->d_head * sizeof(float));
}

static void pair_task(void *context, ptrdiff_t i, void *scratch) {
    const pair_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t part = i % work->n_part, head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    pair_head h = work->h;
    h.keys = scratch;
    h.values = h.keys + h.n_slot * h.d_pair;
    float *own = (float *)(void *)(h.values + h.n_slot / 2 * h.d_value);
    pair_gather(a, &h, (const float *)a->keys + row * a->k_row + head * a->k_head, (const float *)a->values + row * a->v_row + head * a->v_head);
    const float *q = a->q + row * a->q_row + head * a->q_head;
    float *out = a->out + row * a->out_row + head * a->out_head;
    ptrdiff_t n_block = div_up(a->n_query, PAIR_QUERIES);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * PAIR_QUERIES, n = min_size(PAIR_QUERIES, a->n_query - first);
        pair_queries(&h, a, q + first * a->q_time, n, a->n_key - a->n_query + 1 + first, own, out + first * a->out_time);
    }
}

static void pair_attention(const apr_attention *a) {
    pair_work work = {.a = a, .n_part = 1, .h = {.n_slot = div_up(a->n_key, PAIR_ROWS) * PAIR_ROWS}};
    work.h.d_pair = div_up(a->d_head, 2 * LANES) * LANES;
    work.h.d_value = 2 * work.h.d_pair;
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    if (n_thread > 1) work.n_part = min_size(div_up(PAIR_TASKS * n_thread, n_pair), div_up(a->n_query, PAIR_QUERIES));
    ptrdiff_t numbers = work.h.n_slot * (work.h.d_pair + work.h.d_value / 2) + pair_floats(&work.h);
    apr_parallel(pair_task, &work, n_pair * work.n_part, (size_t)numbers * sizeof(float));
}
