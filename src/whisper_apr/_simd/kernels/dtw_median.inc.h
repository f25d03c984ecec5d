/* Kernels for aligning words with audio: a running median and dynamic time warping. */
#ifndef WHISPER_APR_KERNELS_DTW_MEDIAN_INC_H
#define WHISPER_APR_KERNELS_DTW_MEDIAN_INC_H

#include <math.h>

#include "../kernels.h"
#include "tile.inc.h"

enum { MEDIAN_MAX_WIDTH = 63 };

typedef struct median_work {
    const float *x;
    float *out;
    ptrdiff_t n, width;
} median_work;

/* Compute the median of each window of `width` numbers, with NaN as infinity. LANES windows at once are sorted by
 * odd-even transposition, in `width` rounds. */
static void median_task(void *context, ptrdiff_t row, void *scratch) {
    const median_work *work = context;
    ptrdiff_t n = work->n, width = work->width;
    const float *x = work->x + row * (n + width - 1);
    vf window[MEDIAN_MAX_WIDTH];
    (void)scratch;
    for (ptrdiff_t at = 0; at < n; at += LANES) {
        /* this operand order replaces NaN by infinity */
        for (ptrdiff_t j = 0; j < width; j++) window[j] = vf_min(vf_load_n(x + at + j, n - at), vf_set1(INFINITY));
        for (ptrdiff_t round = 0; round < width; round++)
            for (ptrdiff_t j = round % 2; j + 1 < width; j += 2) {
                vf low = vf_min(window[j], window[j + 1]);
                window[j + 1] = vf_max(window[j], window[j + 1]);
                window[j] = low;
            }
        vf_store_n(work->out + row * n + at, window[width / 2], n - at);
    }
}

static void median(const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t width) {
    median_work work = {.x = x, .out = out, .n = n, .width = width};
    apr_parallel(median_task, &work, n_row, 0);
}

/* Dynamic time warping: find the cheapest path from the first row and column of x (n, m) to the last.
 * Each step advances the row (trace 1), the column (2) or both (0); on ties the column. cost (n + 1) is scratch; trace
 * (n, m) receives the step that reached each cell. Cells depend on each other, so one thread does it all. */
static void dtw(const float *x, ptrdiff_t n, ptrdiff_t m, float *cost, int8_t *trace) {
    cost[0] = 0;
    for (ptrdiff_t i = 1; i <= n; i++) cost[i] = INFINITY;
    for (ptrdiff_t j = 0; j < m; j++) {
        float diagonal = cost[0];
        cost[0] = INFINITY;
        for (ptrdiff_t i = 0; i < n; i++) {
            float left = cost[i + 1], up = cost[i], best = left;
            int8_t step = 2;
            if (diagonal < up && diagonal < left) {
                best = diagonal;
                step = 0;
            } else if (up < diagonal && up < left) {
                best = up;
                step = 1;
            }
            cost[i + 1] = x[i * m + j] + best;
            trace[i * m + j] = step;
            diagonal = left;
        }
    }
}

#endif
