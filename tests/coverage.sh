#!/bin/sh
# Measure the share of Python and C that the plain tests run: tests/coverage.sh
#
# Works on a copy with an extension built for gcov. C is measured for the instruction sets of this machine; vector
# headers of others are left out. PYTHON names the interpreter, with the package's `coverage` extra installed. The
# reports are written to standard output, and as coverage.xml and c_coverage.xml to the folder that OUT names.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
out=${OUT:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

(cd "$here" && tar -cf - --exclude='*.so' --exclude=./build --exclude=_kernels.c --exclude='./.*' --exclude=./venv .) |
    tar -xf - -C "$folder"
cd "$folder"
CFLAGS=--coverage LDFLAGS=--coverage WHISPER_APR_CFLAGS="-O1 -DCYTHON_TRACE=0 -fprofile-update=atomic" \
    "$python" setup.py -q build_ext --inplace >build.log 2>&1 || { tail -30 build.log && exit 1; }

PYTHONPATH=src "$python" -m pytest -q -n auto -p no:cacheprovider --cov=whisper_apr --cov-report= tests
"$python" -m coverage report --skip-covered --sort=cover
"$python" -m gcovr --root src/whisper_apr/_simd --object-directory build --exclude '.*_kernels\.c' \
    --gcov-ignore-errors=all --merge-mode-functions=merge-use-line-min --print-summary
if [ -n "$out" ]; then
    "$python" -m coverage xml -q -o "$out/coverage.xml"
    "$python" -m gcovr --root src/whisper_apr/_simd --object-directory build --exclude '.*_kernels\.c' \
        --gcov-ignore-errors=all --merge-mode-functions=merge-use-line-min --xml "$out/c_coverage.xml"
fi
