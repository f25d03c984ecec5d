/* The whole kernel text, for the instruction set whose vector header was included before; target_*.c name it in APR_TARGET. */
#include "kernels.h"

#include <math.h>

#include "tile.inc.h"

#include "attention_many.inc.h"
#include "attention_int8.inc.h"
#include "attention.inc.h"
#include "cache.inc.h"
#include "finish.inc.h"
#include "gemm.inc.h"
#include "qgemm.inc.h"
#include "peak.inc.h"
#include "qpeak.inc.h"
#include "rows.inc.h"
#include "signal.inc.h"
#include "timing.inc.h"

#define APR_TEXT2(a) #a
#define APR_TEXT(a) APR_TEXT2(a)
#define APR_ENTRY(name, arguments) .name = name,

const apr_table APR_JOIN(apr_table_, APR_TARGET) = {.name = APR_TEXT(APR_TARGET), .lanes = VF_LANES, APR_KERNELS(APR_ENTRY)};
