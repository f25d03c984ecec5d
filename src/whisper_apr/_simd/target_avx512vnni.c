/* The int8 and int4 products with AVX-512's dot-product instruction; all else is avx512's. */
#define APR_VNNI
#include "vec/avx512.h"

#include "kernels.h"
#include "tile.inc.h"
#include "qgemm.inc.h"

void apr_qgemm_avx512vnni(const apr_gemm *g) { qgemm(g); }
