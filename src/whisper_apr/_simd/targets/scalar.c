/* Plain C, always present: the reference. */
#define APR_TARGET scalar
#include "../vec/scalar.h"

#include "target.inc.h"
