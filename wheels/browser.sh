#!/bin/bash
# Test the web page, its JavaScript class and its typings in browsers, with the wheel for Pyodide.
#
#   wheels/browser.sh [FOLDER] [ENGINE...]
#
# FOLDER (default: dist) holds the wheel that wheels/wasm.sh built. An ENGINE is one of these; all of them by default:
#
#   chromium    Debian's Chromium, with all tests
#   no-jspi     Chromium without JavaScript Promise Integration: transcribing and cancelling
#   firefox     Debian's Firefox ESR: the same
#   webkit      Debian's WebKitGTK, Safari's engine: the same
#
# WHISPER_APR_BROWSER_TESTS is a pattern; then only tests whose names match it run.
#
# WHISPER_APR_REAL_AUDIO names a folder with recordings of people; then a published model, which
# tests/real/fetch_models.py downloads, transcribes them in each engine, too.
#
# NumPy for Pyodide is the wheel that WHISPER_APR_PYODIDE_NUMPY names. Without it, Pyodide and NumPy are loaded from
# their CDN; if that cannot be reached, NumPy is built from source (wasm_numpy.sh) and cached.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")
ENGINES=("${@:2}")
[ ${#ENGINES[@]} -gt 0 ] || ENGINES=(chromium no-jspi firefox webkit)

for engine in "${ENGINES[@]}"; do
    case $engine in
        chromium | no-jspi) debian chromium -- chromium ;;
        firefox) debian firefox-esr -- firefox-esr ;;
        webkit) debian "${WEBKIT_PACKAGES[@]}" -- WebKitWebDriver Xvfb xauth ;;
        *) say "no engine $engine; there are chromium, no-jspi, firefox and webkit" && exit 2 ;;
    esac
done
browser_environment "$OUT"

say "typings"
"$NODE_MODULES/.bin/tsc" --noEmit --strict --target es2022 --module nodenext --lib es2022,dom,dom.iterable \
    "$ROOT/tests/browser/example.ts"

MODEL=
[ -z "${WHISPER_APR_REAL_AUDIO:-}" ] || MODEL=$(python3 "$ROOT/tests/real/fetch_models.py" tiny.en)

cd "$CACHE/browser" || exit
for engine in "${ENGINES[@]}"; do
    say "in $engine"
    tests=()
    for file in "$ROOT"/tests/browser/*.test.mjs; do
        case $engine/$(basename "$file") in
            */real.test.mjs) [ -z "$MODEL" ] || tests+=("$file") ;;
            chromium/* | */engines.test.mjs) tests+=("$file") ;;
        esac
    done
    display=()
    [ "$engine" != webkit ] || display=(xvfb-run -a)
    BROWSER_ENGINE=$engine BROWSER_PYTHON=$PYTHON BROWSER_MODULES=$NODE_MODULES BROWSER_WHEEL=$WHEEL \
        BROWSER_MODEL=$MODEL "${display[@]}" node --test --test-concurrency=1 --test-reporter=spec \
        ${WHISPER_APR_BROWSER_TESTS:+--test-name-pattern="$WHISPER_APR_BROWSER_TESTS"} "${tests[@]}"
done
