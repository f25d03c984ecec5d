/* x86-64's baseline. */
#define APR_TARGET sse2
#include "../vec/sse2.h"

#include "target.inc.h"
