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
export WASM_LLVM=19 # compiles relaxed SIMD, see wasm_compiler.sh
WASM_PACKAGES=(emscripten "clang-$WASM_LLVM" "lld-$WASM_LLVM" python3-dev python3-venv "${NODE_PACKAGES[@]}")
BUILD_REQUIREMENTS=(build 'setuptools>=77' 'Cython>=3.1' packaging wheel abi3audit auditwheel)
PYODIDE=314.0.7 # has Python 3.14; determines the platform tag of the wheel
RELAXED_NODE=node@24 # an npm package, for tests of relaxed SIMD, which node 20 lacks
PYODIDE_PLATFORM=pyemscripten_2026_0_wasm32
BROWSER_PACKAGES=("${NODE_PACKAGES[@]}" python3-dev python3-venv gcc libc6-dev)
# WebKit decodes recordings with GStreamer, and its browser needs a display.
WEBKIT_PACKAGES=(webkit2gtk-driver gstreamer1.0-plugins-base gstreamer1.0-plugins-good xvfb xauth)
BROWSER_MODULES=("pyodide@$PYODIDE" playwright-core@1.65.1 typescript@7.0.2 ws@8 axe-core@4.14.1)
NPM_MODULES=(vite@7) # in which the package is tested

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
    (
        flock 9 # apt-get does not wait for another one; .ci/run uses the same lock
        apt-get update -q -o DPkg::Lock::Timeout=600
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o DPkg::Lock::Timeout=600 --no-install-recommends \
            "${packages[@]}"
    ) 9>"${TMPDIR:-/tmp}/whisper_apr-apt.lock"
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

# browser_environment FOLDER: what tests in browsers need besides a browser. Sets NODE_MODULES, PYTHON and WHEEL, the
# wheel for Pyodide in FOLDER, and WHISPER_APR_PYODIDE_NUMPY if NumPy cannot be loaded from Pyodide's CDN.
browser_environment() {
    debian "${BROWSER_PACKAGES[@]}" -- node npm python3 gcc
    NODE_MODULES=$CACHE/browser/node_modules
    if [ "$(cat "$CACHE/browser/installed" 2>/dev/null)" != "${BROWSER_MODULES[*]}" ]; then
        npm install --silent --no-audit --no-fund --prefix "$CACHE/browser" "${BROWSER_MODULES[@]}"
        echo "${BROWSER_MODULES[*]}" >"$CACHE/browser/installed"
    fi
    if ! WHEEL=$(ls "$1"/whisper_apr-*_wasm32.whl); then
        say "no wheel for Pyodide in $1; build it with wheels/wasm.sh"
        exit 1
    fi

    # The installed package provides the expected texts, and the command that serves the page.
    say "the installed package"
    if [ -n "${WHISPER_APR_PYTHON:-}" ]; then
        PYTHON=$WHISPER_APR_PYTHON # an interpreter in which it is installed, with the weights for speakers
    else
        venv browser pip
        copy_source "$CACHE/browser/source"
        PYTHON=$CACHE/venv-browser/bin/python
        "$PYTHON" -m pip install -q --disable-pip-version-check "$CACHE/browser/source" "$CACHE/browser/source/speakers"
    fi
    if [ -z "${WHISPER_APR_PYODIDE_NUMPY:-}" ] &&
        ! reachable "https://cdn.jsdelivr.net/pyodide/v$PYODIDE/full/pyodide.mjs"; then
        WHISPER_APR_PYODIDE_NUMPY=$("$ROOT/wheels/wasm_numpy.sh")
        export WHISPER_APR_PYODIDE_NUMPY
    fi
}

reachable() { node -e 'fetch(process.argv[1]).then((a) => process.exit(!a.ok), () => process.exit(1))' "$1"; }
