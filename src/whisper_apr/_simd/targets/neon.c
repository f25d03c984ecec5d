/* The aarch64 baseline. */
#define APR_TARGET neon
#include "../vec/neon.h"

#include "target.inc.h"
