/* All kernels for one instruction set, and their table. The including file sets APR_TARGET and includes the vector
 * header. */
#ifndef WHISPER_APR_TARGETS_TARGET_INC_H
#define WHISPER_APR_TARGETS_TARGET_INC_H

#include "../kernels.h"
#include "../kernels/attention.inc.h"
#include "../kernels/attention_int8.inc.h"
#include "../kernels/dtw_median.inc.h"
#include "../kernels/encoder_attention.inc.h"
#include "../kernels/epilogue.inc.h"
#include "../kernels/gemm.inc.h"
#include "../kernels/kv_store.inc.h"
#include "../kernels/lstm.inc.h"
#include "../kernels/peak.inc.h"
#include "../kernels/qgemm.inc.h"
#include "../kernels/qpeak.inc.h"
#include "../kernels/rows.inc.h"
#include "../kernels/signal.inc.h"
#include "../vec/default.h"

#define APR_TEXT2(a) #a
#define APR_TEXT(a) APR_TEXT2(a)
#define APR_ENTRY(name, arguments) .name = name,

const apr_table APR_JOIN(apr_table_,
                         APR_TARGET) = {.name = APR_TEXT(APR_TARGET), .lanes = VF_LANES, APR_KERNELS(APR_ENTRY)};

#endif
