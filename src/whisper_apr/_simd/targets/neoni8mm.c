/* NEON with the products of 2 x 8 by 8 x 2 bytes (I8MM): Apple M2, Graviton 3. */
#define APR_TARGET neoni8mm
#define APR_BASE neon
#define APR_I8MM
#include "../vec/neon.h"

#include "dot_product.inc.h"
