# shellcheck shell=bash disable=SC2034 # the variables are used by the scripts that source this file
# Sourced by the other scripts. It names everything that they install, which is cached between runs in one folder.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${WHISPER_APR_WHEELS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/whisper_apr-wheels}
mkdir -p "$CACHE"

NATIVE_PACKAGES=(gcc libc6-dev binutils python3-dev python3-venv)
AARCH64_PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user python3-dev python3-venv)
NODE_PACKAGES=() # an existing node and npm are used: another vendor's nodejs conflicts with Debian's npm
command -v node >/dev/null && command -v npm >/dev/null || NODE_PACKAGES=(nodejs npm)
WASM_PACKAGES=(emscripten python3-dev python3-venv "${NODE_PACKAGES[@]}")
BUILD_REQUIREMENTS=(build 'setuptools>=77' 'Cython>=3.1' packaging abi3audit auditwheel)
PYODIDE=314.0.7 # has Python 3.14; determines the platform tag of the wheel
PYODIDE_PLATFORM=pyemscripten_2026_0_wasm32
BROWSER_PACKAGES=(chromium "${NODE_PACKAGES[@]}" python3-dev python3-venv gcc libc6-dev)
BROWSER_MODULES=("pyodide@$PYODIDE" playwright-core@1.65.1 typescript@7.0.2)

# The tests that compare the backends, and those of the decoder.
KERNEL_TESTS="tests/test_*kernels*.py tests/test_simd.py tests/test_decoder.py"

say() { printf '\n== %s\n' "$*"; }

# debian PACKAGE... -- COMMAND...: install Debian packages unless all these commands exist
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

# venv NAME REQUIREMENT...: create a virtual environment in the cache, again if the requirements change
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

# copy_source FOLDER: copy the working tree without build products, so that builds leave nothing in the checkout
copy_source() {
    rm -rf "$1"
    mkdir -p "$1"
    tar -c -C "$ROOT" --exclude='*.so' --exclude=__pycache__ --exclude=_kernels.c --exclude='./.*' --exclude=./build \
        --exclude=./dist . | tar -x -C "$1"
}
