/* Attention of many queries over strided arrays (the encoder): out = softmax(q keys^T * scale) values.
 *
 * Lanes are queries, so that the softmax needs no sum across lanes; it runs along, block of keys by block of keys, and the scores of one
 * block are all that is kept. Keys and values are gathered once a head. Scores are in units of log 2: the queries are scaled by log2(e) * scale.
 *
 * The text has two forms. What is multiplied lies in cells of 32 bits: one float32; or, where APR_BFLOAT16 is defined, two numbers rounded to
 * bfloat16, whose products are both added to a float32. A pair is two dimensions for the scores, and two keys for the sum over the values.
 * Then the softmax's weights are rounded too, and sum to 1 as they are after rounding.
 */

enum {
    MANY_VECTORS = TILE_ROWS == 6 ? 3 : 2, /* of queries: with the rows below, what the registers hold */
    MANY_QUERIES = MANY_VECTORS * LANES,   /* queries side by side in the lanes */
    MANY_ROWS = TILE_ROWS >= 8 ? 8 : 4,    /* keys, or dimensions, of a register block; divides 16 */
    MANY_BLOCK = 128,                      /* keys whose scores are kept at a time */
    MANY_AHEAD = 16,                       /* keys and values are asked for so many rows before they are gathered */
    MANY_TASKS = 4,                        /* at least, for each thread: none waits long for another. Each gathers its head's keys and values */
};

#if defined(APR_BFLOAT16)

enum { IN_CELL = 2 };
typedef uint32_t cell;
typedef vb vcell;
APR_INLINE vcell cell_load(const cell *p) { return vb_load(p); }
APR_INLINE vcell cell_set1(cell x) { return vb_set1(x); }
APR_INLINE void cell_store(cell *p, vcell x) { vb_store(p, x); }
APR_INLINE vf cell_fma(vcell a, vcell b, vf acc) { return vb_dot(acc, a, b); }
APR_INLINE vf cell_sum(vcell x, vf acc) { return vb_dot(acc, x, vb_pair(vf_set1(1.0f), vf_set1(1.0f))); }
/* Of numbers that follow each other, and of numbers of two rows. */
APR_INLINE vcell cell_along(const vf x[IN_CELL]) { return vb_round(x[0], x[1]); }
APR_INLINE vcell cell_across(const vf x[IN_CELL]) { return vb_pair(x[0], x[1]); }

/* 2^x for x <= 0 with a relative error of 7.5e-5, which is little beside the rounding to bfloat16 that follows. Minimax on [-1/2, 1/2]. */
APR_INLINE vf cell_exp2(vf x) {
    x = vf_max(vf_set1(VF_SCALE_LOWEST), x); /* in this order a NaN stays one */
    vf n = vf_round(x), r = vf_sub(x, n);
    vf y = vf_fma(vf_set1(0.0551716691f), r, vf_set1(0.242611122f));
    y = vf_fma(y, r, vf_set1(0.693260985f));
    return vf_scale(vf_fma(y, r, vf_set1(0.999928074f)), n);
}

#else

enum { IN_CELL = 1 };
typedef float cell;
typedef vf vcell;
APR_INLINE vcell cell_load(const cell *p) { return vf_load(p); }
APR_INLINE vcell cell_set1(cell x) { return vf_set1(x); }
APR_INLINE void cell_store(cell *p, vcell x) { vf_store(p, x); }
APR_INLINE vf cell_fma(vcell a, vcell b, vf acc) { return vf_fma(a, b, acc); }
APR_INLINE vf cell_sum(vcell x, vf acc) { return vf_add(acc, x); }
APR_INLINE vcell cell_along(const vf x[IN_CELL]) { return x[0]; }
APR_INLINE vcell cell_across(const vf x[IN_CELL]) { return x[0]; }
APR_INLINE vf cell_exp2(vf x) { return exp2_vector(x); }

#endif

/* One head, gathered. */
typedef struct many_head {
    cell *keys;        /* (n_slot, d_cell): numbers that follow each other in a cell */
    cell *values;      /* (n_slot / IN_CELL, d_value): in a cell one dimension of IN_CELL keys */
    ptrdiff_t n_slot;  /* keys, rounded up to MANY_ROWS */
    ptrdiff_t d_cell;  /* cells of a key, rounded up to 16 */
    ptrdiff_t d_value; /* dimensions, rounded up to 16 */
} many_head;

typedef struct many_work {
    const apr_attention *a;
    ptrdiff_t n_part; /* stretches of queries for each row and head */
    many_head h;      /* sizes only */
} many_work;

/* x[at .. at + LANES], of which n numbers exist */
APR_INLINE vf load_left(const float *x, ptrdiff_t at, ptrdiff_t n) {
    return n >= at + LANES ? vf_load(x + at) : n > at ? vf_load_n(x + at, n - at) : vf_zero();
}

/* n numbers times scale as d_cell cells, zeros behind them */
APR_INLINE void many_row(const float *x, ptrdiff_t n, float scale, cell *out, ptrdiff_t d_cell) {
    for (ptrdiff_t d = 0; d < d_cell; d += LANES) {
        vf part[IN_CELL];
        APR_UNROLL
        for (int i = 0; i < IN_CELL; i++) part[i] = vf_mul(load_left(x, d * IN_CELL + i * LANES, n), vf_set1(scale));
        cell_store(out + d, cell_along(part));
    }
}

/* A row that will be read: rows lie too far apart for the hardware to foresee the next. */
APR_INLINE void ask_row(const float *x, ptrdiff_t n) {
    for (ptrdiff_t d = 0; d < n; d += LINE / (ptrdiff_t)sizeof *x) APR_PREFETCH(x + d);
}

static void many_gather(const apr_attention *a, const many_head *h, const float *k, const float *v) {
    for (ptrdiff_t key = 0; key < h->n_slot; key++) {
        if (key + MANY_AHEAD < a->n_key) ask_row(k + (key + MANY_AHEAD) * a->k_time, a->d_head);
        many_row(k + key * a->k_time, key < a->n_key ? a->d_head : 0, 1.0f, h->keys + key * h->d_cell, h->d_cell);
    }
    for (ptrdiff_t key = 0; key < h->n_slot; key += IN_CELL) {
        for (ptrdiff_t ahead = key + MANY_AHEAD; ahead < min_size(key + MANY_AHEAD + IN_CELL, a->n_key); ahead++)
            ask_row(v + ahead * a->v_time, a->d_head);
        for (ptrdiff_t d = 0; d < h->d_value; d += LANES) {
            vf part[IN_CELL];
            APR_UNROLL
            for (int i = 0; i < IN_CELL; i++) part[i] = load_left(v + (key + i) * a->v_time, d, key + i < a->n_key ? a->d_head : 0);
            cell_store(h->values + key / IN_CELL * h->d_value + d, cell_across(part));
        }
    }
}

/* acc[i][j] += sum over s < k of the cells a[i * a_row + s * a_step] times b (k, MANY_QUERIES) */
APR_INLINE void many_tile(vf acc[][MANY_VECTORS], const cell *a, ptrdiff_t a_row, ptrdiff_t a_step, const cell *b, ptrdiff_t k) {
    APR_UNROLL_2
    for (ptrdiff_t s = 0; s < k; s++) {
        vcell x[MANY_VECTORS];
        APR_UNROLL
        for (int j = 0; j < MANY_VECTORS; j++) x[j] = cell_load(b + s * MANY_QUERIES + j * LANES);
        APR_UNROLL
        for (int i = 0; i < MANY_ROWS; i++) {
            vcell y = cell_set1(a[i * a_row + s * a_step]);
            APR_UNROLL
            for (int j = 0; j < MANY_VECTORS; j++) acc[i][j] = cell_fma(y, x[j], acc[i][j]);
        }
    }
}

/* Scores (MANY_ROWS, MANY_QUERIES) of as many keys; best (MANY_QUERIES) goes along. */
APR_NOINLINE static void many_scores(const cell *keys, ptrdiff_t d_cell, const cell *queries, ptrdiff_t k, float *scores, float *best) {
    vf acc[MANY_ROWS][MANY_VECTORS];
    APR_UNROLL
    for (int i = 0; i < MANY_ROWS * MANY_VECTORS; i++) acc[i / MANY_VECTORS][i % MANY_VECTORS] = vf_zero();
    many_tile(acc, keys, d_cell, 1, queries, k);
    APR_UNROLL
    for (int j = 0; j < MANY_VECTORS; j++) {
        vf most = vf_load(best + j * LANES);
        APR_UNROLL
        for (int i = 0; i < MANY_ROWS; i++) {
            vf_store(scores + i * MANY_QUERIES + j * LANES, acc[i][j]);
            most = vf_max(acc[i][j], most);
        }
        vf_store(best + j * LANES, most);
    }
}

/* Sums (MANY_ROWS, MANY_QUERIES) of as many dimensions: what lies there times keep (MANY_QUERIES), plus the weighted values of k * IN_CELL keys. */
APR_NOINLINE static void many_sums(const cell *values, ptrdiff_t d_value, const cell *weights, ptrdiff_t k, const float *keep, float *sums) {
    vf acc[MANY_ROWS][MANY_VECTORS];
    APR_UNROLL
    for (int i = 0; i < MANY_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < MANY_VECTORS; j++) acc[i][j] = vf_mul(vf_load(sums + i * MANY_QUERIES + j * LANES), vf_load(keep + j * LANES));
    }
    many_tile(acc, values, 1, d_value, weights, k);
    APR_UNROLL
    for (int i = 0; i < MANY_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < MANY_VECTORS; j++) vf_store(sums + i * MANY_QUERIES + j * LANES, acc[i][j]);
    }
}

/* Of the scores of n keys from key0 on, those that a query does not see vanish: it sees n_seen (MANY_QUERIES) keys. best is what remains. */
static void many_hide(float *scores, ptrdiff_t n, ptrdiff_t key0, const float *n_seen, const float *top, float *best) {
    for (int j = 0; j < MANY_VECTORS; j++) {
        vf most = vf_load(top + j * LANES), seen = vf_load(n_seen + j * LANES);
        for (ptrdiff_t t = 0; t < n; t++) {
            float *s = scores + t * MANY_QUERIES + j * LANES;
            vf x = vf_select_lt(vf_set1((float)(key0 + t)), seen, vf_load(s), vf_set1(-INFINITY));
            vf_store(s, x);
            most = vf_max(x, most);
        }
        vf_store(best + j * LANES, most);
    }
}

/* Scores (k * IN_CELL, MANY_QUERIES) -> weights (k, MANY_QUERIES) in the same place: exp2(score - best); total (MANY_QUERIES) goes along. */
APR_NOINLINE static void many_weights(float *scores, ptrdiff_t k, const float *best, float *total) {
    cell *weights = (cell *)(void *)scores;
    vf shift[MANY_VECTORS], sum[MANY_VECTORS];
    APR_UNROLL
    for (int j = 0; j < MANY_VECTORS; j++) {
        shift[j] = vf_load(best + j * LANES);
        sum[j] = vf_load(total + j * LANES);
    }
    for (ptrdiff_t t = 0; t < k; t++) {
        vf part[MANY_VECTORS][IN_CELL];
        APR_UNROLL
        for (int j = 0; j < MANY_VECTORS; j++) {
            APR_UNROLL
            for (int i = 0; i < IN_CELL; i++)
                part[j][i] = cell_exp2(vf_sub(vf_load(scores + (t * IN_CELL + i) * MANY_QUERIES + j * LANES), shift[j]));
        }
        APR_UNROLL
        for (int j = 0; j < MANY_VECTORS; j++) {
            vcell weight = cell_across(part[j]);
            cell_store(weights + t * MANY_QUERIES + j * LANES, weight);
            sum[j] = cell_sum(weight, sum[j]);
        }
    }
    APR_UNROLL
    for (int j = 0; j < MANY_VECTORS; j++) vf_store(total + j * LANES, sum[j]);
}

/* out[s][i] = x[i][s] for rows x (n, step) of 32 bits, in squares of 4 */
APR_INLINE void turn(const float *x, ptrdiff_t n, ptrdiff_t step, float *out, ptrdiff_t n_out, ptrdiff_t out_step) {
    ptrdiff_t whole = LANES < 4 ? 0 : n; /* without vectors the queries may be fewer than 4 */
    for (ptrdiff_t i = 0; i < whole; i += 4)
        for (ptrdiff_t s = 0; s < n_out; s += 4) vf_turn4(x + i * step + s, step, out + s * out_step + i, out_step);
    for (ptrdiff_t i = whole; i < n; i++)
        for (ptrdiff_t s = 0; s < n_out; s++) out[s * out_step + i] = x[i * step + s];
}

static ptrdiff_t many_floats(const many_head *h) { return (2 * h->d_cell + MANY_BLOCK + 2 * h->d_value) * MANY_QUERIES; }

/* The first MANY_QUERIES of n_left queries; n_seen: how many keys the first of them sees, where attention is causal. The queries that
 * follow are asked for on the way. */
static void many_queries(const many_head *h, const apr_attention *a, const float *q, ptrdiff_t n_left, ptrdiff_t n_seen, float *scratch,
                         float *out) {
    float *rows = scratch, *turned = rows + h->d_cell * MANY_QUERIES, *scores = turned + h->d_cell * MANY_QUERIES;
    float *sums = scores + MANY_BLOCK * MANY_QUERIES, *finished = sums + h->d_value * MANY_QUERIES;
    const cell *queries = (const cell *)(const void *)turned, *weights = (const cell *)(const void *)scores;
    float seen[MANY_QUERIES], top[MANY_QUERIES], best[MANY_QUERIES], total[MANY_QUERIES], keep[MANY_QUERIES];
    ptrdiff_t n_query = min_size(MANY_QUERIES, n_left), k = div_up(a->d_head, IN_CELL);
    ptrdiff_t n_key = a->causal ? min_size(a->n_key, n_seen + n_query - 1) : a->n_key;
    for (ptrdiff_t i = 0; i < MANY_QUERIES; i++) {
        seen[i] = (float)(a->causal ? min_size(max_size(1, n_seen + i), n_key) : n_key);
        top[i] = best[i] = -INFINITY;
        total[i] = 0.0f;
        many_row(q + i * a->q_time, i < n_query ? a->d_head : 0, a->scale * LOG2_E, (cell *)(void *)rows + i * h->d_cell, h->d_cell);
    }
    turn(rows, MANY_QUERIES, h->d_cell, turned, h->d_cell, MANY_QUERIES);
    memset(sums, 0, (size_t)(h->d_value * MANY_QUERIES) * sizeof(float));
    for (ptrdiff_t key0 = 0; key0 < n_key; key0 += MANY_BLOCK) {
        ptrdiff_t n = min_size(MANY_BLOCK, n_key - key0), slots = div_up(n, MANY_ROWS) * MANY_ROWS;
        for (ptrdiff_t t = 0; t < slots; t += MANY_ROWS)
            many_scores(h->keys + (key0 + t) * h->d_cell, h->d_cell, queries, k, scores + t * MANY_QUERIES, best);
        if (slots > n || (a->causal && key0 + n > n_seen)) many_hide(scores, slots, key0, seen, top, best);
        for (int j = 0; j < MANY_VECTORS; j++) {
            vf scale = exp2_vector(vf_sub(vf_load(top + j * LANES), vf_load(best + j * LANES)));
            vf_store(keep + j * LANES, scale);
            vf_store(total + j * LANES, vf_mul(vf_load(total + j * LANES), scale));
        }
        memcpy(top, best, sizeof top);
        for (ptrdiff_t i = MANY_QUERIES + key0 * MANY_QUERIES / n_key; i < min_size(n_left, MANY_QUERIES + (key0 + n) * MANY_QUERIES / n_key); i++)
            ask_row(q + i * a->q_time, a->d_head);
        many_weights(scores, slots / IN_CELL, best, total);
        for (ptrdiff_t d = 0; d < a->d_head; d += MANY_ROWS)
            many_sums(h->values + key0 / IN_CELL * h->d_value + d, h->d_value, weights, slots / IN_CELL, keep, sums + d * MANY_QUERIES);
    }
    for (int j = 0; j < MANY_VECTORS; j++) {
        vf share = vf_div(vf_set1(1.0f), vf_load(total + j * LANES));
        for (ptrdiff_t d = 0; d < a->d_head; d++) {
            float *sum = sums + d * MANY_QUERIES + j * LANES;
            vf_store(sum, vf_mul(vf_load(sum), share));
        }
    }
    turn(sums, h->d_value, MANY_QUERIES, finished, MANY_QUERIES, h->d_value);
    for (ptrdiff_t i = 0; i < n_query; i++) memcpy(out + i * a->out_time, finished + i * h->d_value, (size_t)a->d_head * sizeof(float));
}

static void many_task(void *context, ptrdiff_t i, void *scratch) {
    const many_work *work = context;
    const apr_attention *a = work->a;
    ptrdiff_t part = i % work->n_part, head = i / work->n_part % a->n_head, row = i / work->n_part / a->n_head;
    many_head h = work->h;
    h.keys = scratch;
    h.values = h.keys + h.n_slot * h.d_cell;
    float *own = (float *)(void *)(h.values + h.n_slot / IN_CELL * h.d_value);
    many_gather(a, &h, (const float *)a->keys + row * a->k_row + head * a->k_head, (const float *)a->values + row * a->v_row + head * a->v_head);
    const float *q = a->q + row * a->q_row + head * a->q_head;
    float *out = a->out + row * a->out_row + head * a->out_head;
    ptrdiff_t n_block = div_up(a->n_query, MANY_QUERIES);
    for (ptrdiff_t block = part * n_block / work->n_part; block < (part + 1) * n_block / work->n_part; block++) {
        ptrdiff_t first = block * MANY_QUERIES;
        many_queries(&h, a, q + first * a->q_time, a->n_query - first, a->n_key - a->n_query + 1 + first, own, out + first * a->out_time);
    }
}

static void many_attention(const apr_attention *a) {
    many_work work = {.a = a, .n_part = 1, .h = {.n_slot = div_up(a->n_key, MANY_ROWS) * MANY_ROWS}};
    work.h.d_cell = div_up(a->d_head, IN_CELL * APR_PANEL) * APR_PANEL;
    work.h.d_value = div_up(a->d_head, APR_PANEL) * APR_PANEL;
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    if (n_thread > 1) work.n_part = min_size(div_up(MANY_TASKS * n_thread, n_pair), div_up(a->n_query, MANY_QUERIES));
    ptrdiff_t cells = work.h.n_slot * (work.h.d_cell + work.h.d_value / IN_CELL) + many_floats(&work.h);
    apr_parallel(many_task, &work, n_pair * work.n_part, (size_t)cells * sizeof(float));
}
