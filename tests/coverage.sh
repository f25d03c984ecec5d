#!/bin/sh
# Measure the share of Python and C that the plain tests run: tests/coverage.sh
#
# Works on a copy. Python is measured with all tests; C, in a second build that is instrumented for gcov and slow, with
# the tests of the kernels, for the instruction sets of this machine. PYTHON names the interpreter, with the package's
# extra `coverage` installed. The reports are written to standard output.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

(cd "$here" && tar -cf - --exclude='*.so' --exclude=./build --exclude='_kernels.c' --exclude='./.*' .) |
    tar -xf - -C "$folder"
cd "$folder"
export PYTHONPATH=src

# build [VARIABLE=VALUE...]: build the extension in place
build() {
    env "$@" "$python" setup.py -q build_ext --inplace --force >build.log 2>&1 || { tail -30 build.log && exit 1; }
}

build
"$python" -m pytest -q -n auto -p no:cacheprovider --cov=src/whisper_apr --cov-report= tests
"$python" -m coverage report --skip-covered --sort=cover

rm -rf build
build CFLAGS=--coverage LDFLAGS=--coverage WHISPER_APR_CFLAGS="-O1 -fprofile-update=atomic"
"$python" -m pytest -q -n auto -p no:cacheprovider tests/test_*kernels*.py tests/test_simd*.py tests/test_threads.py \
    tests/test_lz4.py tests/test_resample.py tests/test_weights.py tests/test_kv_cache.py tests/test_decoder.py
"$python" -m gcovr --root . --filter src/whisper_apr/_simd/ --exclude '.*_kernels\.c' --print-summary build \
    --gcov-ignore-errors=source_not_found --merge-mode-functions=merge-use-line-min
