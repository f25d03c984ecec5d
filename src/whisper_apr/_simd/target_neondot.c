/* The int8 and int4 products with aarch64's dot-product instruction; all else is neon's. */
#include "vec/neon.h"

#include "kernels.h"
#include "tile.inc.h"
#include "finish.inc.h"
#include "qgemm.inc.h"
#include "qpeak.inc.h"

void apr_qgemm_neondot(const apr_gemm *g) { qgemm(g); }
void apr_dot_peak_neondot(float *out, ptrdiff_t n_task) { dot_peak(out, n_task); }
