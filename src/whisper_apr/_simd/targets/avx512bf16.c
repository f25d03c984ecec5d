/* AVX-512 BF16: encoder attention with the bfloat16 dot product. Everything else is avx512vnni's. */
#define APR_TARGET avx512bf16
#define APR_BASE avx512vnni
#define APR_BFLOAT16
#include "../vec/avx512.h"

#include "bfloat16.inc.h"
