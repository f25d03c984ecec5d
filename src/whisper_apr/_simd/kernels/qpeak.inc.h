/* The upper bound of the machine's int8 dot products. Separate from peak.inc.h because targets/dot_product.inc.h
 * compiles it alone. */
#ifndef WHISPER_APR_KERNELS_QPEAK_INC_H
#define WHISPER_APR_KERNELS_QPEAK_INC_H

#include "../kernels.h"
#include "tile.inc.h"

/* As many chains as fit the register file with one weight each: spills would be measured, too. */
enum { QPEAK_CHAINS = VF_TILE_ROWS >= 8 ? 12 : 6, QPEAK_STEPS = 1000 };

#if VQ_PAIRS
#define PEAK_DOT vq_pair_dot
#else
#define PEAK_DOT vq_dot
#endif

/* peak.inc.h's loop with the int8 dot product. The input changes with each step, so that the compiler cannot hoist the
 * product. */
static void dot_peak_task(void *context, ptrdiff_t i, void *scratch) {
    float *out = (float *)context + 2 * i;
    int8_t bytes[QPEAK_CHAINS * sizeof(vq)];
    vq_element inputs[] = {1, 2, 3, 4, 5, 6, 7, 8};
    vq weight[QPEAK_CHAINS];
    vi chain[QPEAK_CHAINS];
    int32_t lanes[sizeof(vi) / sizeof(int32_t)];
    (void)scratch;
    for (size_t b = 0; b < sizeof bytes; b++) bytes[b] = (int8_t)(b % 7);
    APR_UNROLL
    for (int j = 0; j < QPEAK_CHAINS; j++) {
        weight[j] = vq_load_weight(bytes + j * (ptrdiff_t)sizeof(vq), 0);
        chain[j] = vi_set1(j);
    }
    for (int step = 0; step < QPEAK_STEPS; step++) {
        vq_input input = vq_load_input(inputs + step % 2 * 4);
        APR_UNROLL
        for (int j = 0; j < QPEAK_CHAINS; j++) chain[j] = PEAK_DOT(chain[j], weight[j], input);
    }
    APR_UNROLL
    for (int j = 1; j < QPEAK_CHAINS; j++) chain[0] = vi_add(chain[0], chain[j]);
    vi_store(lanes, chain[0]);
    out[0] = (float)lanes[0];
    out[1] = 2.0f * QPEAK_CHAINS * QPEAK_STEPS * ((VQ_PAIRS + 1) * LANES * APR_QUAD / VQ_PARTS);
}

#undef PEAK_DOT

static void dot_peak(float *out, ptrdiff_t n_task) { apr_parallel(dot_peak_task, out, n_task, 0); }

#endif
