/* NEON with the bfloat16 dot product, for encoder attention: Apple M2, Graviton 3. Everything else is neoni8mm's. */
#define APR_TARGET neonbf16
#define APR_BASE neoni8mm
#define APR_BFLOAT16
#include "../vec/neon.h"

#include "bfloat16.inc.h"
