/* Upper bounds of this machine for benchmarks: multiply-adds in registers, and sequential reads. */
#ifndef WHISPER_APR_KERNELS_PEAK_INC_H
#define WHISPER_APR_KERNELS_PEAK_INC_H

#include "../kernels.h"
#include "tile.inc.h"

enum {
    PEAK_CHAINS = 12, /* independent sums, enough to hide the latency of a multiply-add */
    PEAK_STEPS = 1000,
    READ_CHUNK = 1 << 14, /* numbers per task */
};

/* One multiply-add per lane and chain, PEAK_STEPS times. out (n_task, 2): a result, so that the compiler keeps the
 * loop, and the number of operations. */
static void peak_task(void *context, ptrdiff_t i, void *scratch) {
    float *out = (float *)context + 2 * i;
    vf chain[PEAK_CHAINS], factor = vf_set1(0.999f), sum = vf_set1(1e-3f);
    (void)scratch;
    APR_UNROLL
    for (int j = 0; j < PEAK_CHAINS; j++) chain[j] = vf_set1((float)j);
    for (int step = 0; step < PEAK_STEPS; step++) {
        APR_UNROLL
        for (int j = 0; j < PEAK_CHAINS; j++) chain[j] = vf_fma(chain[j], factor, sum);
    }
    APR_UNROLL
    for (int j = 1; j < PEAK_CHAINS; j++) chain[0] = vf_add(chain[0], chain[j]);
    out[0] = vf_reduce_add(chain[0]);
    out[1] = 2.0f * PEAK_CHAINS * PEAK_STEPS * LANES;
}

static void peak(float *out, ptrdiff_t n_task) { apr_parallel(peak_task, out, n_task, 0); }

static void bfloat16_peak(float *out, ptrdiff_t n_task) { peak(out, n_task); }

typedef struct read_work {
    const float *x;
    float *out;
    ptrdiff_t n;
} read_work;

static void read_task(void *context, ptrdiff_t i, void *scratch) {
    const read_work *work = context;
    const float *x = work->x + i * READ_CHUNK;
    ptrdiff_t n = min_size(READ_CHUNK, work->n - i * READ_CHUNK);
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    (void)scratch;
    for (ptrdiff_t at = 0; at + 4 * LANES <= n; at += 4 * LANES) {
        APR_UNROLL
        for (int j = 0; j < 4; j++) sum[j] = vf_add(sum[j], vf_load(x + at + j * LANES));
    }
    work->out[i] = vf_reduce_add(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

/* out: one sum per READ_CHUNK numbers of x */
static void read_all(const float *x, ptrdiff_t n, float *out) {
    read_work work = {x, out, n};
    apr_parallel(read_task, &work, div_up(n, READ_CHUNK), 0);
}

#endif
