#!/bin/bash
# Cross-compile the aarch64 wheel, then run the kernel tests and a transcription under qemu, on CPUs with and without
# dot products, I8MM and bfloat16.
#
#   wheels/aarch64.sh [FOLDER]
#
# The wheel is written to FOLDER (default: dist). Its tag is for this machine's C library, so it is not for the package
# index.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")

debian "${AARCH64_PACKAGES[@]}" -- aarch64-linux-gnu-gcc qemu-aarch64 python3
venv build "${BUILD_REQUIREMENTS[@]}"
PYTHON=$CACHE/venv-build/bin/python

# Unpack Debian's aarch64 Python 3.11 into a folder. apt uses a separate state, so no package of this machine changes.
SYSTEM=$CACHE/aarch64-system
if ! [ -f "$SYSTEM/done" ]; then
    say "Debian's Python for aarch64"
    rm -rf "$SYSTEM"
    mkdir -p "$SYSTEM/apt/lists/partial" "$SYSTEM/apt/archives/partial"
    : >"$SYSTEM/apt/status"
    APT=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
        -o Dir::State="$SYSTEM/apt" -o Dir::State::status="$SYSTEM/apt/status" -o Dir::Cache="$SYSTEM/apt")
    "${APT[@]}" update
    "${APT[@]}" -y --download-only --no-install-recommends install python3.11 libstdc++6
    (cd "$SYSTEM/apt/archives" && "${APT[@]}" download libpython3.11-dev)
    for package in "$SYSTEM"/apt/archives/*.deb; do dpkg -x "$package" "$SYSTEM"; done
    rm -rf "$SYSTEM/apt"
    touch "$SYSTEM/done"
fi

say "wheel for linux_aarch64"
WORK=$CACHE/aarch64
INCLUDE=$SYSTEM/usr/include
copy_source "$WORK/source"
rm -rf "$WORK/wheel" "$WORK/site"
_PYTHON_HOST_PLATFORM=linux-aarch64 AR=aarch64-linux-gnu-ar \
    CC="aarch64-linux-gnu-gcc -I$INCLUDE/aarch64-linux-gnu/python3.11 -I$INCLUDE/python3.11 -I$INCLUDE" \
    LDSHARED="aarch64-linux-gnu-gcc -shared" \
    "$PYTHON" -m build -q --wheel --no-isolation --outdir "$WORK/wheel" "$WORK/source" >"$WORK/build.log" 2>&1 ||
    { tail -30 "$WORK/build.log"; exit 1; }
WHEEL=$(ls "$WORK"/wheel/*.whl)
mkdir -p "$OUT"
cp "$WHEEL" "$OUT"
ls -l "$OUT/$(basename "$WHEEL")"

# Install the wheel and its dependencies from the index's aarch64 wheels.
"$PYTHON" -m pip install -q --target "$WORK/site" --only-binary :all: --python-version 3.11 --platform linux_aarch64 \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 \
    "${WHEEL}[test]"
cat >"$WORK/python" <<EOF
#!/bin/sh
exec qemu-aarch64 \${PROCESSOR:+-cpu \$PROCESSOR} -L "$SYSTEM" "$SYSTEM/usr/bin/python3.11" "\$@"
EOF
chmod +x "$WORK/python"
# Tests start sys.executable, which must be the emulated Python.
echo "import sys; sys.executable = '$WORK/python'" >"$WORK/site/sitecustomize.py"
rm -rf "$WORK/run"
mkdir "$WORK/run"
cp -r "$ROOT/tests" "$ROOT/pyproject.toml" "$ROOT/wheels/digits.py" "$WORK/run"
cd "$WORK/run" || exit
export PYTHONPATH=$WORK/site PYTHONDONTWRITEBYTECODE=1

say "a Cortex-A53, without the dot product"
PROCESSOR=cortex-a53 "$WORK/python" -c \
    "from whisper_apr import simd; print(simd.backends()); assert simd.backend() == 'neon'"
PROCESSOR=cortex-a53 "$WORK/python" digits.py tests/data --backends neon --recordings en.wav
say "a Neoverse N1, with the dot product alone"
PROCESSOR=neoverse-n1 "$WORK/python" -c \
    "from whisper_apr import simd; print(simd.backends()); assert simd.backend() == 'neondot'"
say "all instructions that qemu supports"
"$WORK/python" -c "from whisper_apr import simd; print(simd.backends()); assert simd.backend() == 'neonbf16'"
"$WORK/python" -m pytest -q -p no:cacheprovider $KERNEL_TESTS
"$WORK/python" digits.py tests/data --backends neonbf16 --recordings de.wav --compute-type int8
