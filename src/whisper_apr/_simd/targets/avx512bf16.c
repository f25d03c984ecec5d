/* AVX-512 BF16: encoder attention with the bfloat16 dot product, and its peak. Everything else is avx512vnni's. */
#define APR_BFLOAT16
#include "../vec/avx512.h"

#include "../kernels.h"
#include "../kernels/encoder_attention.inc.h"
#include "../kernels/tile.inc.h"

void apr_attention_avx512vnni(const apr_attention *a);

void apr_attention_avx512bf16(const apr_attention *a) {
    if (a->bfloat16 && !a->pages && a->n_query > SMALL_M_ROWS) encoder_attention(a);
    else apr_attention_avx512vnni(a);
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

void apr_bfloat16_peak_avx512bf16(float *out, ptrdiff_t n_task) { apr_parallel(peak_task, out, n_task, 0); }
