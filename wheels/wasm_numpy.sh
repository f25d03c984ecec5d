#!/bin/bash
# Build NumPy for Pyodide from its source distribution, on machines that reach a package index but not Pyodide's CDN.
# Print the path of the wheel, which is cached. Use it only to test our own wheel: it is compiled with little
# optimization.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
NUMPY=2.4.6 # the version of this Pyodide
# The cache key includes this script, so that a change rebuilds NumPy.
SITE=$CACHE/numpy-$NUMPY-pyodide-$PYODIDE-$(sha256sum "${BASH_SOURCE[0]}" | cut -c 1-8)
STDLIB=$CACHE/pyodide-$PYODIDE/node_modules/pyodide/python_stdlib.zip
exec 3>&1 >&2

build() {
    say "building NumPy $NUMPY for Pyodide $PYODIDE, which takes some minutes" >&4
    local work=$CACHE/numpy-build source apt uri
    rm -rf "$work"
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/download" "$work/prefix"
    venv numpy meson ninja cython

    # The headers of Pyodide's Python version, from Debian unstable.
    uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 || true)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main" >"$work/apt/sources.list"
    : >"$work/apt/status"
    apt=(apt-get -q -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o APT::Sandbox::User=root -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status"
        -o Dir::Cache="$work/apt")
    "${apt[@]}" update
    (cd "$work/download" && "${apt[@]}" download libpython3.14-dev && dpkg -x libpython3.14-dev*.deb "$work/python")
    python3 "$ROOT/wheels/wasm_config.py" "$STDLIB" "$work/include" "$work/python/usr/include/python3.14" \
        "$(ls "$work"/python/usr/include/*/python3.14/pyconfig.h)"

    # pip unpacks a source distribution and then fails to read its metadata without a build backend, which leaves the
    # source. Reading it would build NumPy.
    TMPDIR=$work/download python3 -m pip download -q --no-clean --no-deps --no-build-isolation --no-binary numpy \
        -d "$work/download" "numpy==$NUMPY" 2>/dev/null || true
    source=$(ls -d "$work"/download/*/numpy_*)

    # A Python for meson: it answers questions about itself with Pyodide's configuration, and runs everything else.
    cat >"$work/python.py" <<EOF
#!$CACHE/venv-numpy/bin/python
import json, os, subprocess, sys
sys.path.insert(0, "$ROOT/wheels")
command = [sys.executable, *sys.argv[1:]]
if not any(argument.endswith("python_info.py") for argument in command):
    os.execv(sys.executable, command)
from wasm_config import variables
answer, pyodide = json.loads(subprocess.check_output(command)), variables("$STDLIB")
answer["variables"] = {name: value for name, value in pyodide.items() if isinstance(value, (str, int))}
answer |= {"version": "3.14", "platform": "emscripten-wasm32", "suffix": pyodide["EXT_SUFFIX"], "link_libpython": False}
for paths in (answer["paths"], answer["sysconfig_paths"]):
    paths["include"] = paths["platinclude"] = "$work/include"
print(json.dumps(answer))
EOF
    chmod +x "$work/python.py"
    cat "$source/tools/ci/emscripten/emscripten.meson.cross" - >"$work/cross.ini" <<EOF

[built-in options]
c_args = ['-fPIC']
cpp_args = ['-fPIC']
c_link_args = ['-sSIDE_MODULE=1', '-sWASM_BIGINT']
cpp_link_args = ['-sSIDE_MODULE=1', '-sWASM_BIGINT']
EOF
    local binaries="c = 'emcc'\ncpp = 'em++'\nar = 'emar'\npython = '$work/python.py'"
    binaries="$binaries\ncython = '$CACHE/venv-numpy/bin/cython'"
    sed -i "/^\[binaries\]/a $binaries" "$work/cross.ini"
    # time_t has 64 bits in Pyodide, but 32 in Debian's emscripten; and their C++ exceptions are incompatible, so that a
    # throw would end Python.
    echo 'typedef long long time_t;' >"$work/time.h"
    sed -i "s/'-fexceptions',\?//" "$source/numpy/_core/meson.build"
    # A side module may have undefined functions, so every function that meson looks for seems to exist. Pyodide lacks
    # backtrace, and a call to it, from arithmetic on temporary arrays of 256 KiB or more, would end Python.
    sed -i "/^  'backtrace',$/d" "$source/numpy/_core/meson.build"
    export EMCC_CFLAGS="-D_GNU_SOURCE -D__DEFINED_time_t -include $work/time.h"
    export PATH=$CACHE/venv-numpy/bin:$PATH
    local meson=$source/vendored-meson/meson/meson.py
    python "$meson" setup "$work/build" "$source" --cross-file "$work/cross.ini" --prefix=/usr \
        --buildtype=release -Doptimization=1 -Dblas=none -Dlapack=none -Dallow-noblas=true -Ddisable-optimization=true
    ninja -j "$(nproc)" -C "$work/build"
    DESTDIR=$work/prefix python "$meson" install -C "$work/build" --no-rebuild --tags runtime,python-runtime
    rm -rf "$SITE"
    mv "$(dirname "$(find "$work/prefix" -type d -name numpy -path '*-packages/numpy')")" "$SITE"
    rm -rf "$work"
}

if ! [ -d "$SITE" ]; then
    exec 4>&2 >"$CACHE/numpy.log" 2>&1
    trap '[ -d "$SITE" ] || tail -30 "$CACHE/numpy.log" >&4' EXIT
    build
fi
WHEEL=$SITE/numpy-$NUMPY-cp314-cp314-$PYODIDE_PLATFORM.whl
if ! [ -f "$WHEEL" ]; then
    about=$SITE/numpy-$NUMPY.dist-info
    mkdir -p "$about"
    printf 'Metadata-Version: 2.1\nName: numpy\nVersion: %s\n' "$NUMPY" >"$about/METADATA"
    printf 'Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp314-cp314-%s\n' "$PYODIDE_PLATFORM" >"$about/WHEEL"
    : >"$about/RECORD"
    (cd "$SITE" && python3 -m zipfile -c "$WHEEL.part" numpy "$(basename "$about")" && mv "$WHEEL.part" "$WHEEL")
fi
echo "$WHEEL" >&3
