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

debian "${WASM_PACKAGES[@]}" -- emcc "clang-$WASM_LLVM" "wasm-ld-$WASM_LLVM" node npm python3
venv build "${BUILD_REQUIREMENTS[@]}"
PYTHON=$CACHE/venv-build/bin/python
NODE_MODULES=$CACHE/pyodide-$PYODIDE/node_modules
[ -d "$NODE_MODULES/pyodide" ] ||
    npm install --silent --no-audit --no-fund --prefix "$CACHE/pyodide-$PYODIDE" "pyodide@$PYODIDE"

say "wheel for $PYODIDE_PLATFORM"
WORK=$CACHE/wasm
copy_source "$WORK/source"
rm -rf "$WORK/include" "$WORK/wheel" "$WORK/unpacked"
"$PYTHON" "$ROOT/wheels/wasm_config.py" "$NODE_MODULES/pyodide/python_stdlib.zip" "$WORK/include"
# The functions that web/static/threads.js and thread.js call.
THREAD_FUNCTIONS=_apr_pool,_apr_function_address,_apr_reserve,_apr_add_workers,_apr_work
LINK_FLAGS="-sSIDE_MODULE=2 -sWASM_BIGINT -sEXPORTED_FUNCTIONS=_PyInit__kernels,$THREAD_FUNCTIONS -O3"
# Debian's default flags enable the stack protector, whose functions Pyodide lacks.
_PYTHON_HOST_PLATFORM=$PYODIDE_PLATFORM \
    CC="$ROOT/wheels/wasm_compiler.sh -I$WORK/include" AR=emar CFLAGS=-fno-stack-protector \
    LDSHARED="$ROOT/wheels/wasm_compiler.sh $LINK_FLAGS" \
    "$PYTHON" -m build -q --wheel --no-isolation --outdir "$WORK/wheel" "$WORK/source" >"$WORK/build.log" 2>&1 ||
    { tail -30 "$WORK/build.log"; exit 1; }
WHEEL=$(ls "$WORK"/wheel/*.whl)

# Only pure-Python packages can be installed there: an older hypothesis, and no lz4.
if ! [ -f "$CACHE/site-wasm/done" ]; then
    "$PYTHON" -m pip install -q --target "$CACHE/site-wasm" --platform any --only-binary :all: --python-version 3.14 \
        pytest hypothesis
    touch "$CACHE/site-wasm/done"
fi
rm -rf "$WORK/run"
cp -r "$CACHE/site-wasm" "$WORK/run"
cp -r "$ROOT/tests" "$ROOT/pyproject.toml" "$ROOT/wheels/digits.py" "$ROOT/src/whisper_apr/assets/digits.pt" "$WORK/run"
cp "$ROOT/wheels/bytecode.py" "$WHEEL" "$WORK/run"

NODE=node
python_under_node() {
    "$NODE" "$ROOT/wheels/pyodide.mjs" "$NODE_MODULES/pyodide" "$WORK/run" "$NUMPY" "$WHEEL" -- "$@"
}
NUMPY=${WHISPER_APR_PYODIDE_NUMPY:-numpy}
if [ "$NUMPY" = numpy ] && ! python_under_node -m whisper_apr.simd.ops 2>/dev/null; then
    NUMPY=$("$ROOT/wheels/wasm_numpy.sh")
fi

say "compiled modules"
python_under_node bytecode.py "$(basename "$WHEEL")" bytecode
STDLIB=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
cat "$STDLIB/LICENSE.txt" >>"$WORK/run/bytecode/NOTICE.txt"
"$PYTHON" -m wheel unpack -d "$WORK/unpacked" "$WHEEL"
mv "$WORK/run/bytecode" "$WORK"/unpacked/whisper_apr-*/whisper_apr/web
"$PYTHON" -m wheel pack -d "$WORK/wheel" "$WORK"/unpacked/whisper_apr-*
mkdir -p "$OUT"
cp "$WHEEL" "$OUT"
ls -l "$OUT/$(basename "$WHEEL")"

say "under node"
mapfile -t tests < <(cd "$ROOT" && printf '%s\n' $KERNEL_TESTS)
python_under_node -m pytest -q -s -p no:cacheprovider "${tests[@]}"
WHISPER_APR_THREADS=3 python_under_node -m pytest -q -s -p no:cacheprovider tests/test_thread_counts.py
python_under_node digits.py tests/data --model digits.pt # which the wheel does not contain
WHISPER_APR_THREADS=2 python_under_node digits.py tests/data --model digits.pt --backends wasm128 --compute-type int8
python_under_node -m whisper_apr.bench.kernels

say "with relaxed SIMD"
export WHISPER_APR_BACKEND=wasm128relaxed
if ! node "$ROOT/wheels/has_relaxed_simd.mjs"; then
    if python_under_node -m whisper_apr.simd.ops 2>/dev/null; then
        say "$WHISPER_APR_BACKEND can be used under a node that lacks relaxed SIMD"
        exit 1
    fi
    [ -d "$CACHE/node" ] || npm install --silent --no-audit --no-fund --prefix "$CACHE/node" "$RELAXED_NODE"
    NODE=$CACHE/node/node_modules/node/bin/node
fi
python_under_node -m pytest -q -s -p no:cacheprovider -k wasm128relaxed "${tests[@]}"
WHISPER_APR_THREADS=2 python_under_node digits.py tests/data --model digits.pt --backends wasm128relaxed \
    --compute-type int8
