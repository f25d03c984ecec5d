#!/bin/bash
# Build the wheel for Pyodide with Debian's emscripten, then run the kernel tests and a transcription under node.
#
#   wheels/wasm.sh [FOLDER]
#
# The wheel is written to FOLDER (default: dist).
#
# NumPy for Pyodide is the wheel that WHISPER_APR_PYODIDE_NUMPY names. Without it, Pyodide loads NumPy from its CDN; if
# that cannot be reached, NumPy is built from source (wasm_numpy.sh) and cached.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")

debian "${WASM_PACKAGES[@]}" -- emcc node npm python3
venv build "${BUILD_REQUIREMENTS[@]}"
PYTHON=$CACHE/venv-build/bin/python
NODE_MODULES=$CACHE/pyodide-$PYODIDE/node_modules
[ -d "$NODE_MODULES/pyodide" ] ||
    npm install --silent --no-audit --no-fund --prefix "$CACHE/pyodide-$PYODIDE" "pyodide@$PYODIDE"

say "wheel for $PYODIDE_PLATFORM"
WORK=$CACHE/wasm
copy_source "$WORK/source"
rm -rf "$WORK/include" "$WORK/wheel"
"$PYTHON" "$ROOT/wheels/wasm_config.py" "$NODE_MODULES/pyodide/python_stdlib.zip" "$WORK/include"
# Debian's default flags enable the stack protector, whose functions Pyodide lacks.
_PYTHON_HOST_PLATFORM=$PYODIDE_PLATFORM \
    CC="emcc -I$WORK/include" AR=emar CFLAGS=-fno-stack-protector \
    LDSHARED="emcc -sSIDE_MODULE=2 -sWASM_BIGINT -sEXPORTED_FUNCTIONS=_PyInit__kernels -O3" \
    "$PYTHON" -m build -q --wheel --no-isolation --outdir "$WORK/wheel" "$WORK/source" >"$WORK/build.log" 2>&1 ||
    { tail -30 "$WORK/build.log"; exit 1; }
WHEEL=$(ls "$WORK"/wheel/*.whl)
mkdir -p "$OUT"
cp "$WHEEL" "$OUT"
ls -l "$OUT/$(basename "$WHEEL")"

say "under node"
# Only pure-Python packages can be installed there: an older hypothesis, and no lz4.
if ! [ -f "$CACHE/site-wasm/done" ]; then
    "$PYTHON" -m pip install -q --target "$CACHE/site-wasm" --platform any --only-binary :all: --python-version 3.14 \
        pytest hypothesis
    touch "$CACHE/site-wasm/done"
fi
rm -rf "$WORK/run"
cp -r "$CACHE/site-wasm" "$WORK/run"
cp -r "$ROOT/tests" "$ROOT/pyproject.toml" "$ROOT/wheels/digits.py" "$WORK/run"

python_under_node() {
    node "$ROOT/wheels/pyodide.mjs" "$NODE_MODULES/pyodide" "$WORK/run" "$NUMPY" "$WHEEL" -- "$@"
}
NUMPY=${WHISPER_APR_PYODIDE_NUMPY:-numpy}
if [ "$NUMPY" = numpy ] && ! python_under_node -m whisper_apr.simd.ops 2>/dev/null; then
    NUMPY=$("$ROOT/wheels/wasm_numpy.sh")
fi
mapfile -t tests < <(cd "$ROOT" && printf '%s\n' $KERNEL_TESTS)
python_under_node -m pytest -q -s -p no:cacheprovider "${tests[@]}"
python_under_node digits.py tests/data
python_under_node -m whisper_apr.bench.kernels
