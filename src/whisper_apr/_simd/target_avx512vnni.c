/* The int8 and int4 products with AVX-512's dot-product instruction, and attention over int8 pages; all else is avx512's. */
#define APR_VNNI
#include "vec/avx512.h"

#include "kernels.h"

#include <math.h>

#include "tile.inc.h"

#include "attention_int8.inc.h"
#include "finish.inc.h"
#include "qgemm.inc.h"
#include "qpeak.inc.h"

extern const apr_table apr_table_avx512;

void apr_qgemm_avx512vnni(const apr_gemm *g) { qgemm(g); }
void apr_dot_peak_avx512vnni(float *out, ptrdiff_t n_task) { dot_peak(out, n_task); }
void apr_attention_avx512vnni(const apr_attention *a) {
    if (int8_fits(a)) int8_attention(a);
    else apr_table_avx512.attention(a);
}
