/* AVX-512 with VNNI (the dot product of bytes). */
#define APR_TARGET avx512vnni
#define APR_BASE avx512
#define APR_VNNI
#include "../vec/avx512.h"

#include "dot_product.inc.h"
