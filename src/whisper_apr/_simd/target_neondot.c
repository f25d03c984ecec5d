/* The int8 and int4 products with aarch64's dot-product instruction; all else is neon's. */
#include "vec/neon.h"

#include "kernels.h"
#include "tile.inc.h"
#include "qgemm.inc.h"

void apr_qgemm_neondot(const apr_gemm *g) { qgemm(g); }
