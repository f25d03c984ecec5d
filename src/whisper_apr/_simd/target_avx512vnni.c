/* The int8 and int4 products with AVX-512's dot-product instruction; all else is avx512's. */
#define APR_VNNI
#include "vec/avx512.h"

#include "kernels.h"
#include "tile.inc.h"
#include "finish.inc.h"
#include "qgemm.inc.h"
#include "qpeak.inc.h"

void apr_qgemm_avx512vnni(const apr_gemm *g) { qgemm(g); }
void apr_dot_peak_avx512vnni(float *out, ptrdiff_t n_task) { dot_peak(out, n_task); }
