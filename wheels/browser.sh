#!/bin/bash
# Test the web page, its JavaScript class and its typings in Debian's headless Chromium, with the wheel for Pyodide.
#
#   wheels/browser.sh [FOLDER] [PATTERN]
#
# FOLDER (default: dist) holds the wheel that wheels/wasm.sh built. With PATTERN, only tests whose names match it run.
#
# NumPy for Pyodide is the wheel that WHISPER_APR_PYODIDE_NUMPY names. Without it, Pyodide and NumPy are loaded from
# their CDN; if that cannot be reached, NumPy is built from source (wasm_numpy.sh) and cached.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")

debian "${BROWSER_PACKAGES[@]}" -- chromium node npm python3 gcc
NODE_MODULES=$CACHE/browser/node_modules
if [ "$(cat "$CACHE/browser/installed" 2>/dev/null)" != "${BROWSER_MODULES[*]}" ]; then
    npm install --silent --no-audit --no-fund --prefix "$CACHE/browser" "${BROWSER_MODULES[@]}"
    echo "${BROWSER_MODULES[*]}" >"$CACHE/browser/installed"
fi
if ! WHEEL=$(ls "$OUT"/whisper_apr-*_wasm32.whl); then
    say "no wheel for Pyodide in $OUT; build it with wheels/wasm.sh"
    exit 1
fi

say "typings"
"$NODE_MODULES/.bin/tsc" --noEmit --strict --target es2022 --module nodenext --lib es2022,dom,dom.iterable \
    "$ROOT/tests/browser/example.ts"

# The installed package provides the expected texts, and the command that serves the page.
say "the installed package"
if [ -n "${WHISPER_APR_PYTHON:-}" ]; then
    PYTHON=$WHISPER_APR_PYTHON # an interpreter in which it is installed
else
    venv browser pip
    copy_source "$CACHE/browser/source"
    PYTHON=$CACHE/venv-browser/bin/python
    "$PYTHON" -m pip install -q --disable-pip-version-check "$CACHE/browser/source"
fi

reachable() { node -e 'fetch(process.argv[1]).then((a) => process.exit(!a.ok), () => process.exit(1))' "$1"; }
if [ -z "${WHISPER_APR_PYODIDE_NUMPY:-}" ] &&
    ! reachable "https://cdn.jsdelivr.net/pyodide/v$PYODIDE/full/pyodide.mjs"; then
    WHISPER_APR_PYODIDE_NUMPY=$("$ROOT/wheels/wasm_numpy.sh")
    export WHISPER_APR_PYODIDE_NUMPY
fi

say "in Chromium"
cd "$CACHE/browser" || exit
BROWSER_PYTHON=$PYTHON BROWSER_MODULES=$NODE_MODULES BROWSER_WHEEL=$WHEEL BROWSER_CHROMIUM=$(command -v chromium) \
    node --test --test-concurrency=1 --test-reporter=spec ${2:+--test-name-pattern="$2"} \
    "$ROOT"/tests/browser/*.test.mjs
