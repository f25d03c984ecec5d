#!/bin/bash
# The C compiler and linker for Pyodide: Debian's emscripten. Its LLVM and Binaryen do not know relaxed SIMD as it was
# standardized; what is compiled or linked with -mrelaxed-simd therefore goes to Debian's clang and lld.
#
#   wheels/wasm_compiler.sh ARGUMENT...        (those of emcc)
set -euo pipefail
[[ " $* " == *" -mrelaxed-simd "* ]] || exec emcc "$@"

if [[ " $* " == *" -c "* ]]; then
    exec "clang-$WASM_LLVM" --target=wasm32-unknown-emscripten --sysroot="$(em-config CACHE)/sysroot" -fPIC "$@"
fi
options=() # for wasm-ld, those that emcc would give it
for argument; do
    case $argument in
        -sEXPORTED_FUNCTIONS=*)
            for name in $(tr ',' ' ' <<<"${argument#*=}"); do options+=("--export=${name#_}"); done
            ;;
        -L* | -l* | -o | *.o | *.a | *.so | *.wasm) options+=("$argument") ;;
        -sSIDE_MODULE=* | -sWASM_BIGINT | -f* | -m* | -O*) ;;
        *)
            echo "wasm_compiler.sh: the option $argument is not supported with -mrelaxed-simd" >&2
            exit 2
            ;;
    esac
done
exec "wasm-ld-$WASM_LLVM" -shared --experimental-pic --unresolved-symbols=import-dynamic --strip-all "${options[@]}"
