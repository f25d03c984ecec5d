#!/bin/sh
# Run the kernels' tests on avx2vnni on a CPU that has AVX-512 VNNI, but not AVX-VNNI: tests/avx_vnni.sh [COMMAND...]
#
# Both have the instruction vpdpbusd, and differ in nothing but its encoding. So the target is compiled to assembly as
# always, and then the assembler is told to use AVX-512's encoding. That is done in a copy of the tree, whose detection
# looks for AVX-512 VNNI instead of AVX-VNNI. COMMAND is run in that copy in place of the tests, for example to measure
# speed; the package is on PYTHONPATH. PYTHON is the interpreter to use (with numpy, pytest, hypothesis, Cython,
# setuptools); KEEP is a folder in which to keep the build. A CPU that has AVX-VNNI needs none of this: pytest runs all.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
folder=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder/tree"
(cd "$here" && tar -cf - --exclude='*.so' --exclude=./build --exclude='_kernels.c' --exclude='./.*' .) |
    tar -xf - -C "$folder/tree"

# The compiler: for this one target, rewrite the assembly. {vex} selects AVX-VNNI's encoding; AVX-512's is the default.
cat >"$folder/cc" <<'EOF'
#!/bin/sh
set -eu
object=
previous=
for argument; do
    [ "$previous" = -o ] && object=$argument
    previous=$argument
done
case "$*" in
*targets/avx2vnni.c*)
    gcc "$@" -S
    sed -i 's/{vex} vpdpbusd/vpdpbusd/' "$object"
    mv "$object" "$object.s"
    gcc -c "$object.s" -o "$object"
    ;;
*) exec gcc "$@" ;;
esac
EOF
chmod +x "$folder/cc"

cd "$folder/tree"
sed -i 's/has(more\[0\], 4)/has(wide[2], 11)/' src/whisper_apr/_simd/cpu.c
CC="$folder/cc" "$python" setup.py -q build_ext --inplace >"$folder/build.log" 2>&1 ||
    { cat "$folder/build.log"; exit 1; }
export PYTHONPATH=src
"$python" -c "
from whisper_apr import simd
if 'avx2vnni' not in simd.backends():
    raise SystemExit('tests/avx_vnni.sh: this CPU has no AVX-512 VNNI, which the test needs; run it on one that has')"
if [ $# -gt 0 ]; then
    "$@"
    exit
fi
WHISPER_APR_BACKEND=avx2vnni "$python" -m pytest -q -p no:cacheprovider tests/test_decoder.py tests/test_encoder.py
"$python" -m pytest -q -p no:cacheprovider -k avx2vnni tests/test_kernels.py tests/test_paged_kernels.py \
    tests/test_quantized_kernels.py tests/test_kernels_special.py tests/test_weights.py
