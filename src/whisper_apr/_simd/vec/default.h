/* Fallback for a kernel file that is compiled by itself, as editors and linters do: the scalar target.
 *
 * A target includes its vector header first, so that this header adds nothing to a build. README.md in this folder
 * documents the vocabulary.
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
