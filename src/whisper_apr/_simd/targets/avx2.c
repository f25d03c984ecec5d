/* AVX2, FMA and F16C. */
#define APR_TARGET avx2
#include "../vec/avx2.h"

#include "target.inc.h"
