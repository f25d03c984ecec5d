/* AVX-512 F, BW, VL and DQ. */
#define APR_TARGET avx512
#include "../vec/avx512.h"

#include "target.inc.h"
