/* Elementwise and row-wise kernels: GELU, dot, softmax, logsumexp, argmax, top k, layer norm. */
#ifndef WHISPER_APR_KERNELS_ROWS_INC_H
#define WHISPER_APR_KERNELS_ROWS_INC_H

#include <math.h>

#include "../kernels.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

enum {
    ROWS_CHUNK = 16 * 1024, /* elements per task: fewer are not split among threads */
    TOP_K_VECTORS = 8,      /* vectors that are skipped at once if none of their elements belongs to the largest */
};

typedef struct rows_work rows_work;
struct rows_work {
    void (*row)(const rows_work *work, ptrdiff_t row); /* computes one of n_row */
    const float *x, *weight, *bias;
    float *out;
    int64_t *index;
    ptrdiff_t n_row, n, k, rows_per_task;
    float eps;
    int log;
    int with_libc; /* row calls the C library */
};

static void rows_task(void *context, ptrdiff_t i, void *scratch) {
    const rows_work *work = context;
    (void)scratch;
    for (ptrdiff_t row = i * work->rows_per_task; row < min_size(work->n_row, (i + 1) * work->rows_per_task); row++)
        work->row(work, row);
}

static void rows_parallel(rows_work *work) {
    work->rows_per_task = max_size(1, ROWS_CHUNK / max_size(1, work->n));
    ptrdiff_t n_task = div_up(work->n_row, work->rows_per_task);
    if (work->with_libc) apr_parallel_with_libc(rows_task, work, n_task, 0);
    else apr_parallel(rows_task, work, n_task, 0);
}

static void gelu_task(void *context, ptrdiff_t i, void *scratch) {
    const rows_work *work = context;
    (void)scratch;
    for (ptrdiff_t at = i * ROWS_CHUNK; at < min_size(work->n, (i + 1) * ROWS_CHUNK); at += LANES)
        vf_store_n(work->out + at, gelu_vector(vf_load_n(work->x + at, work->n - at)), work->n - at);
}

static void gelu(const float *x, float *out, ptrdiff_t n) {
    rows_work work = {.x = x, .out = out, .n = n};
    apr_parallel(gelu_task, &work, div_up(n, ROWS_CHUNK), 0);
}

static void dot(const float *a, const float *b, ptrdiff_t n, float *out) {
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        APR_UNROLL
        for (int j = 0; j < 4; j++) sum[j] = vf_fma(vf_load(a + i + j * LANES), vf_load(b + i + j * LANES), sum[j]);
    }
    for (; i < n; i += LANES) sum[0] = vf_fma(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i), sum[0]);
    *out = vf_reduce_add(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

/* Return the maximum of n > 0 numbers. It may or may not be NaN if one of them is. */
static float row_max(const float *x, ptrdiff_t n) {
    vf best = vf_set1(x[0]);
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) best = vf_max(vf_load(x + i), best);
    float top = vf_reduce_max(best);
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

static void softmax_row(const float *x, float *out, ptrdiff_t n, int log_form) {
    float top = row_max(x, n);
    vf shift = vf_set1(top), sum = vf_zero();
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf y = exp_vector(vf_sub(vf_load(x + i), shift));
        if (!log_form) vf_store(out + i, y);
        sum = vf_add(sum, y);
    }
    float total = vf_reduce_add(sum);
    if (i < n) {
        float tail[LANES];
        vf y = exp_vector(vf_sub(vf_load_n(x + i, n - i), shift));
        vf_store(tail, y);
        for (ptrdiff_t j = 0; j < n - i; j++) total += tail[j];
        if (!log_form) vf_store_n(out + i, y, n - i);
    }
    vf scale = vf_set1(log_form ? logf(total) : 1.0f / total);
    for (i = 0; i < n; i += LANES) {
        vf y =
            log_form ? vf_sub(vf_sub(vf_load_n(x + i, n - i), shift), scale) : vf_mul(vf_load_n(out + i, n - i), scale);
        vf_store_n(out + i, y, n - i);
    }
}

static void softmax_one(const rows_work *work, ptrdiff_t row) {
    softmax_row(work->x + row * work->n, work->out + row * work->n, work->n, work->log);
}

static void softmax(const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, int log_form) {
    rows_work work = {.row = softmax_one, .x = x, .out = out, .n_row = n_row, .n = n, .log = log_form};
    work.with_libc = log_form;
    rows_parallel(&work);
}

/* log(sum(exp(x))). -infinity if every number is; NaN if one is NaN; otherwise infinity if one is. */
static float logsumexp_row(const float *x, ptrdiff_t n) {
    float top = row_max(x, n);
    if (!(fabsf(top) < INFINITY)) {
        for (ptrdiff_t i = 0; i < n; i++) {
            if (x[i] != x[i]) return x[i];
        }
        return top;
    }
    vf shift = vf_set1(top), sum[2] = {vf_zero(), vf_zero()};
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        sum[0] = vf_add(sum[0], exp_vector(vf_sub(vf_load(x + i), shift)));
        sum[1] = vf_add(sum[1], exp_vector(vf_sub(vf_load(x + i + LANES), shift)));
    }
    float total = vf_reduce_add(vf_add(sum[0], sum[1])), tail[LANES];
    for (; i < n; i += LANES) {
        vf_store(tail, exp_vector(vf_sub(vf_load_n(x + i, n - i), shift)));
        for (ptrdiff_t j = 0; j < min_size(LANES, n - i); j++) total += tail[j];
    }
    return top + logf(total);
}

static void logsumexp_one(const rows_work *work, ptrdiff_t row) {
    work->out[row] = logsumexp_row(work->x + row * work->n, work->n);
}

static void logsumexp(const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n) {
    rows_work work = {.row = logsumexp_one, .with_libc = 1, .x = x, .out = out, .n_row = n_row, .n = n};
    rows_parallel(&work);
}

static int64_t argmax_row(const float *x, ptrdiff_t n) {
    const uint32_t all = (uint32_t)((1ull << LANES) - 1);
    uint32_t ordered = all;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf y = vf_load(x + i);
        ordered &= vf_mask_eq(y, y);
    }
    for (; i < n; i++) ordered &= x[i] == x[i] ? all : 0;
    if (ordered != all) {
        for (i = 0; x[i] == x[i]; i++) {}
        return i;
    }
    float top = row_max(x, n);
    vf wanted = vf_set1(top);
    for (i = 0; i + LANES <= n && !vf_mask_eq(vf_load(x + i), wanted); i += LANES) {}
    while (x[i] != top) i++;
    return i;
}

static void argmax_one(const rows_work *work, ptrdiff_t row) {
    work->index[row] = argmax_row(work->x + row * work->n, work->n);
}

static void argmax(const float *x, int64_t *out, ptrdiff_t n_row, ptrdiff_t n) {
    rows_work work = {.row = argmax_one, .x = x, .index = out, .n_row = n_row, .n = n};
    rows_parallel(&work);
}

/* Order NaN below all numbers. */
APR_INLINE float nan_to_lowest(float x) { return x == x ? x : -INFINITY; }

/* Insert index i into `best`, the indices of x by descending value and ascending index, whose last place `held` is
 * overwritten. */
static void insert_ranked(const float *x, int64_t *best, ptrdiff_t held, ptrdiff_t i) {
    for (; held > 0 && nan_to_lowest(x[i]) > nan_to_lowest(x[best[held - 1]]); held--) best[held] = best[held - 1];
    best[held] = i;
}

static void top_k_row(const float *x, ptrdiff_t n, ptrdiff_t k, int64_t *best) {
    const uint32_t all = (uint32_t)((1ull << LANES) - 1);
    ptrdiff_t i = 0;
    for (; i < k; i++) insert_ranked(x, best, i, i);
    while (i < n) {
        ptrdiff_t end = min_size(n, i + TOP_K_VECTORS * LANES);
        vf least = vf_set1(nan_to_lowest(x[best[k - 1]])), most = least;
        if (end == i + TOP_K_VECTORS * LANES) {
            APR_UNROLL
            for (int j = 0; j < TOP_K_VECTORS; j++)
                most = vf_max(vf_load(x + i + j * LANES), most); /* this operand order skips NaN */
            if (vf_mask_eq(most, least) == all) i = end;
        }
        for (; i < end; i++) {
            if (nan_to_lowest(x[i]) > nan_to_lowest(x[best[k - 1]])) insert_ranked(x, best, k - 1, i);
        }
    }
}

static void top_k_one(const rows_work *work, ptrdiff_t row) {
    top_k_row(work->x + row * work->n, work->n, work->k, work->index + row * work->k);
}

static void top_k(const float *x, int64_t *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t k) {
    rows_work work = {.row = top_k_one, .x = x, .index = out, .n_row = n_row, .n = n, .k = k};
    rows_parallel(&work);
}

static float row_sum(const float *x, ptrdiff_t n, vf center, int squared) {
    vf sum = vf_zero();
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf y = vf_sub(vf_load(x + i), center);
        sum = squared ? vf_fma(y, y, sum) : vf_add(sum, y);
    }
    float total = vf_reduce_add(sum), tail[LANES];
    if (i < n) {
        vf y = vf_sub(vf_load_n(x + i, n - i), center);
        vf_store(tail, squared ? vf_mul(y, y) : y);
        for (ptrdiff_t j = 0; j < n - i; j++) total += tail[j];
    }
    return total;
}

static void layer_norm_one(const rows_work *work, ptrdiff_t row) {
    ptrdiff_t n = work->n;
    const float *x = work->x + row * n;
    float *out = work->out + row * n;
    vf mean = vf_set1(row_sum(x, n, vf_zero(), 0) / (float)n);
    vf scale = vf_set1(1.0f / sqrtf(row_sum(x, n, mean, 1) / (float)n + work->eps));
    for (ptrdiff_t at = 0; at < n; at += LANES) {
        ptrdiff_t left = n - at;
        vf y = vf_mul(vf_sub(vf_load_n(x + at, left), mean), scale);
        vf_store_n(out + at, vf_fma(y, vf_load_n(work->weight + at, left), vf_load_n(work->bias + at, left)), left);
    }
}

static void layer_norm(const apr_norm *n) {
    rows_work work = {.row = layer_norm_one,
                      .x = n->x,
                      .weight = n->weight,
                      .bias = n->bias,
                      .out = n->out,
                      .n_row = n->n_row,
                      .n = n->n,
                      .eps = n->eps};
    rows_parallel(&work);
}

#endif
