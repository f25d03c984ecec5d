#!/bin/bash
# Build the source distribution, and this machine's wheel from it; then run the source distribution's tests with the
# installed wheel, in a clean environment of every Python that is found.
#
#   wheels/native.sh [FOLDER]
#
# Both are written to FOLDER (default: dist).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")

debian "${NATIVE_PACKAGES[@]}" -- gcc objdump python3
venv build "${BUILD_REQUIREMENTS[@]}"
BIN=$CACHE/venv-build/bin

say "source distribution and wheel"
WORK=$CACHE/native
copy_source "$WORK/source"
rm -rf "$WORK/dist" "$WORK/unpacked"
"$BIN/python" -m build -q --no-isolation --outdir "$WORK/dist" "$WORK/source" >"$WORK/build.log" 2>&1 ||
    { tail -30 "$WORK/build.log"; exit 1; }
WHEEL=$(ls "$WORK"/dist/*.whl)
mkdir -p "$OUT" "$WORK/unpacked"
cp "$WORK"/dist/* "$OUT"
tar -xf "$WORK"/dist/*.tar.gz --strip-components=1 -C "$WORK/unpacked"

say "checks"
"$BIN/abi3audit" --strict --summary "$WHEEL"
"$BIN/auditwheel" show "$WHEEL" | grep -o 'manylinux_[0-9_]*\w*\|musllinux_[0-9_]*\w*' | head -1
cd "$WORK" || exit
"$BIN/python" "$WORK/unpacked/wheels/check_wheel.py" "$WHEEL"
