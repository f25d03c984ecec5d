#!/bin/bash
# Build the npm package, and test its tarball in Chromium: as plain files of another origin, and under Vite.
#
#   wheels/npm.sh [FOLDER]
#
# FOLDER (default: dist) holds the wheel that wheels/wasm.sh built; the tarball is written to it.
#
# WHISPER_APR_NPM_TESTS is a pattern; then only tests whose names match it run. WHISPER_APR_PYODIDE_NUMPY and
# WHISPER_APR_PYTHON are as in browser.sh.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
OUT=$(realpath -m "${1:-$ROOT/dist}")

debian chromium -- chromium
browser_environment "$OUT"
PROJECT=$CACHE/npm/project

say "the package"
node "$ROOT/npm/build.mjs" "$WHEEL" "$CACHE/npm/package"
TARBALL=$OUT/$(cd "$CACHE/npm/package" && npm pack --silent --pack-destination "$OUT")
tar -tzvf "$TARBALL" | awk '{ print $3, $6 }'
ls -l "$TARBALL"

# npm installs a tarball of the same version again only if the old one is removed
rm -rf "$PROJECT/node_modules/whisper-apr" "$PROJECT/package.json" "$PROJECT/package-lock.json"
mkdir -p "$PROJECT"
echo '{ "private": true, "type": "module" }' >"$PROJECT/package.json"
npm install --silent --no-audit --no-fund --prefix "$PROJECT" "${NPM_MODULES[@]}" "$TARBALL"

say "typings"
cp "$ROOT/tests/npm/example.ts" "$PROJECT"
for module in nodenext/nodenext esnext/bundler; do
    "$NODE_MODULES/.bin/tsc" --noEmit --strict --target es2022 --lib es2022,dom,dom.iterable,dom.asynciterable \
        --module "${module%/*}" --moduleResolution "${module#*/}" "$PROJECT/example.ts"
done

say "in Chromium"
cd "$CACHE/npm" || exit
BROWSER_PYTHON=$PYTHON BROWSER_MODULES=$NODE_MODULES BROWSER_WHEEL=$WHEEL \
    NPM_PACKAGE=$PROJECT/node_modules/whisper-apr NPM_PROJECT=$PROJECT \
    node --test --test-concurrency=1 --test-reporter=spec \
    ${WHISPER_APR_NPM_TESTS:+--test-name-pattern="$WHISPER_APR_NPM_TESTS"} "$ROOT"/tests/npm/*.test.mjs
