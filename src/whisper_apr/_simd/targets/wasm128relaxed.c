/* WebAssembly with simd128 and relaxed SIMD. */
#define APR_TARGET wasm128relaxed
#include "../vec/wasm128.h"

#include "target.inc.h"
