#!/bin/bash
# The wheel for Pyodide: built with Debian's emscripten, then the kernel tests and a transcription under node.
#
#   wheels/wasm.sh [FOLDER]    the wheel goes to FOLDER (dist)
#
# Pyodide's NumPy: the wheel that WHISPER_APR_PYODIDE_NUMPY names; else what Pyodide itself loads.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")

debian "${WASM_PACKAGES[@]}" -- emcc node npm python3
venv build "${BUILD_REQUIREMENTS[@]}"
PYTHON=$CACHE/venv-build/bin/python
NODE_MODULES=$CACHE/pyodide-$PYODIDE/node_modules
[ -d "$NODE_MODULES/pyodide" ] || npm install --silent --no-audit --no-fund --prefix "$CACHE/pyodide-$PYODIDE" "pyodide@$PYODIDE"

say "wheel for $PYODIDE_PLATFORM"
WORK=$CACHE/wasm
copy_source "$WORK/source"
rm -rf "$WORK/include" "$WORK/wheel"
"$PYTHON" "$ROOT/wheels/wasm_config.py" "$NODE_MODULES/pyodide/python_stdlib.zip" "$WORK/include"
# The compiler and the linker of a side module. Pyodide's Python has no stack protector's functions, Debian's flags ask for them.
_PYTHON_HOST_PLATFORM=$PYODIDE_PLATFORM \
    CC="emcc -I$WORK/include" AR=emar CFLAGS=-fno-stack-protector \
    LDSHARED="emcc -sSIDE_MODULE=2 -sWASM_BIGINT -sEXPORTED_FUNCTIONS=_PyInit__kernels -O3" \
    "$PYTHON" -m build -q --wheel --no-isolation --outdir "$WORK/wheel" "$WORK/source" >"$WORK/build.log" 2>&1 ||
    { tail -30 "$WORK/build.log"; exit 1; }
WHEEL=$(ls "$WORK"/wheel/*.whl)
mkdir -p "$OUT"
cp "$WHEEL" "$OUT"
ls -l "$OUT/$(basename "$WHEEL")"
