/* The x86-64 baseline. */
#define APR_TARGET sse2
#include "../vec/sse2.h"

#include "target.inc.h"
