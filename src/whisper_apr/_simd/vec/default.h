/* Fallback for a kernel file that is read by itself, as an editor or a linter does: plain C.
 *
 * A target includes its vector header first, so that nothing here applies to a build. Every kernel file includes this header for the vector
 * vocabulary that README.md in this folder documents.
 */
#ifndef WHISPER_APR_VEC_DEFAULT_H
#define WHISPER_APR_VEC_DEFAULT_H

#if !defined(VF_LANES)
#include "scalar.h"
#endif

#if !defined(APR_TARGET)
#define APR_TARGET scalar
#endif

#if !defined(APR_BASE)
#define APR_BASE scalar
#endif

#endif
