# shellcheck shell=bash disable=SC2034 # the variables are used by the scripts that source this file
# Sourced by the scripts beside it. All that they install is named here, and kept between runs in one folder.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${WHISPER_APR_WHEELS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/whisper_apr-wheels}
mkdir -p "$CACHE"

NATIVE_PACKAGES=(gcc libc6-dev binutils python3-dev python3-venv)
AARCH64_PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user python3-dev python3-venv)
NODE_PACKAGES=() # another vendor's nodejs brings npm, and Debian's npm cannot stand beside it: what is there is used
command -v node >/dev/null && command -v npm >/dev/null || NODE_PACKAGES=(nodejs npm)
WASM_PACKAGES=(emscripten python3-dev python3-venv "${NODE_PACKAGES[@]}")
BUILD_REQUIREMENTS=(build 'setuptools>=77' 'Cython>=3.1' packaging abi3audit auditwheel)
PYODIDE=314.0.7 # its Python is 3.14; the wheel's platform tag follows from it
PYODIDE_PLATFORM=pyemscripten_2026_0_wasm32
BROWSER_PACKAGES=(chromium "${NODE_PACKAGES[@]}" python3-dev python3-venv gcc libc6-dev)
BROWSER_MODULES=("pyodide@$PYODIDE" playwright-core@1.65.1 typescript@7.0.2)

# The tests that hold one backend against another, and the decoder that stands on them.
KERNEL_TESTS="tests/test_*kernels*.py tests/test_simd.py tests/test_decoder.py"

say() { printf '\n== %s\n' "$*"; }

# Debian packages, as far as the commands that they bring are missing: debian PACKAGE... -- COMMAND...
debian() {
    local packages=()
    while [ "$1" != -- ]; do
        packages+=("$1")
        shift
    done
    shift
    command -v "$@" >/dev/null && [ "$(command -v "$@" | wc -l)" -eq $# ] && return
    say "apt-get install ${packages[*]}"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
}

# A virtual environment in the cache with what is named, made anew where the names change: venv NAME REQUIREMENT...
venv() {
    local folder=$CACHE/venv-$1
    shift
    if [ "$(cat "$folder/requirements" 2>/dev/null)" != "$*" ]; then
        rm -rf "$folder"
        python3 -m venv "$folder"
        "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@"
        echo "$*" >"$folder/requirements"
    fi
}

# A copy of the working tree without what was built in it, so that no build leaves anything in the checkout.
copy_source() {
    rm -rf "$1"
    mkdir -p "$1"
    tar -c -C "$ROOT" --exclude='*.so' --exclude=__pycache__ --exclude=_kernels.c --exclude='./.*' --exclude=./build --exclude=./dist . | tar -x -C "$1"
}
