/* NEON with the dot-product instructions. */
#define APR_TARGET neondot
#define APR_BASE neon
#include "../vec/neon.h"

#include "dot_product.inc.h"
