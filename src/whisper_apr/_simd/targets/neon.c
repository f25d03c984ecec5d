/* aarch64's baseline. */
#define APR_TARGET neon
#include "../vec/neon.h"

#include "target.inc.h"
