/* The kernels that an int8 dot-product instruction changes: int8 and int4 products, and attention over int8 pages.
 * Everything else is taken from the target APR_BASE. The including file sets APR_TARGET and APR_BASE and includes the
 * vector header. */
#ifndef WHISPER_APR_TARGETS_DOT_PRODUCT_INC_H
#define WHISPER_APR_TARGETS_DOT_PRODUCT_INC_H

#include "../kernels.h"
#include "../kernels/attention_int8.inc.h"
#include "../kernels/epilogue.inc.h"
#include "../kernels/qgemm.inc.h"
#include "../kernels/qpeak.inc.h"
#include "../vec/default.h"

extern const apr_table APR_JOIN(apr_table_, APR_BASE);

void APR_JOIN(apr_qgemm_, APR_TARGET)(const apr_gemm *g) { qgemm(g); }
void APR_JOIN(apr_dot_peak_, APR_TARGET)(float *out, ptrdiff_t n_task) { dot_peak(out, n_task); }
void APR_JOIN(apr_attention_, APR_TARGET)(const apr_attention *a) {
    if (int8_attention_supported(a)) int8_attention(a);
    else APR_JOIN(apr_table_, APR_BASE).attention(a);
}

#endif
