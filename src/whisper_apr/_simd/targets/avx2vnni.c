/* AVX2 with AVX-VNNI (the dot product of bytes): Intel Core from the 12th generation, AMD Zen 5. */
#define APR_TARGET avx2vnni
#define APR_BASE avx2
#define APR_VNNI
#include "../vec/avx2.h"

#include "dot_product.inc.h"
