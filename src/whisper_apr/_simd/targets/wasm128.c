/* WebAssembly with simd128. */
#define APR_TARGET wasm128
#include "../vec/wasm128.h"

#include "target.inc.h"
