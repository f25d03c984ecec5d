/* Encoder attention with a bfloat16 dot product, and the peak of this instruction. Everything else is taken from the
 * target APR_BASE. The including file sets APR_TARGET and APR_BASE, defines APR_BFLOAT16 and includes the vector
 * header. */
#ifndef WHISPER_APR_TARGETS_BFLOAT16_INC_H
#define WHISPER_APR_TARGETS_BFLOAT16_INC_H

#include "../kernels.h"
#include "../kernels/encoder_attention.inc.h"
#include "../kernels/tile.inc.h"
#include "../vec/default.h"

#if defined(APR_BFLOAT16)

void APR_JOIN(apr_attention_, APR_BASE)(const apr_attention *a);

void APR_JOIN(apr_attention_, APR_TARGET)(const apr_attention *a) {
    if (a->reduced && !a->pages && a->n_query > SMALL_M_ROWS) encoder_attention(a);
    else APR_JOIN(apr_attention_, APR_BASE)(a);
}

enum { CHAINS = 12, STEPS = 1000 };

/* peak.inc.h's loop with the bfloat16 dot product. */
static void peak_task(void *context, ptrdiff_t i, void *scratch) {
    float *out = (float *)context + 2 * i;
    vf chain[CHAINS];
    vb half = vb_from_floats(vf_set1(0.5f), vf_set1(0.5f)), factor = vb_from_floats(vf_set1(0.999f), vf_set1(0.999f));
    (void)scratch;
    APR_UNROLL
    for (int j = 0; j < CHAINS; j++) chain[j] = vf_set1((float)j);
    for (int step = 0; step < STEPS; step++) {
        APR_UNROLL
        for (int j = 0; j < CHAINS; j++) chain[j] = vb_dot(chain[j], half, factor);
    }
    APR_UNROLL
    for (int j = 1; j < CHAINS; j++) chain[0] = vf_add(chain[0], chain[j]);
    out[0] = vf_reduce_add(chain[0]);
    out[1] = 2.0f * 2 * CHAINS * STEPS * LANES;
}

void APR_JOIN(apr_bfloat16_peak_, APR_TARGET)(float *out, ptrdiff_t n_task) { apr_parallel(peak_task, out, n_task, 0); }

#endif

#endif
