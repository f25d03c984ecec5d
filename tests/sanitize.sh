#!/bin/sh
# Run the kernels' tests under sanitizers and valgrind: tests/sanitize.sh [address] [thread] [valgrind]; the default is
# all of them.
#
#   address   -fsanitize=address,undefined; all kernel tests on all backends (tests/fuzz does the same for LZ4)
#   thread    -fsanitize=thread; the tests of the thread pool that do not fork, which the runtime does not support
#   valgrind  memcheck of an ordinary build, on scalar and sse2, because valgrind does not support AVX-512; only
#             memcheck.py, because it is slow
#
# The extension is built in a copy of the tree, so that no instrumented one stays in the checkout. gcc's runtimes are
# preloaded because Python itself is not instrumented. PYTHON is the interpreter to use (with numpy, pytest, hypothesis,
# Cython, setuptools); KEEP is a folder in which to keep the builds.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
folder=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$folder"' EXIT

# build NAME FLAGS: copy the tree and build its extension with FLAGS
build() {
    mkdir -p "$folder/$1"
    (cd "$here" &&
        tar -cf - --exclude='*.so' --exclude=build --exclude='_kernels.c' setup.py pyproject.toml src tests) |
        tar -xf - -C "$folder/$1"
    touch "$folder/$1/README.md" "$folder/$1/LICENSE"
    (cd "$folder/$1" &&
        CFLAGS="$2" LDFLAGS="$2" WHISPER_APR_CFLAGS="-O1 -g1" \
            "$python" setup.py -q build_ext --inplace >build.log 2>&1) ||
        { cat "$folder/$1/build.log"; exit 1; }
}

# check NAME PYTEST-ARGUMENTS: run tests of that copy, without capturing, which would lose a sanitizer's report
check() {
    name=$1
    shift
    (cd "$folder/$name" && PYTHONPATH=src "$python" -m pytest -q -x --capture=no -p no:cacheprovider "$@")
}

runtime() { gcc -print-file-name="$1"; }

[ $# -gt 0 ] || set -- address thread valgrind
for kind; do
    echo "== $kind"
    case $kind in
    address)
        build address "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
        # leaks are not checked, since Python itself leaks at exit; the processes of test_threads inherit all options
        ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
            PYTHONMALLOC=malloc \
            LD_PRELOAD="$(runtime libasan.so) $(runtime libubsan.so) $(runtime libstdc++.so)" \
            check address tests/test_kernels.py tests/test_paged_kernels.py tests/test_reduced_kernels.py \
            tests/test_quantized_kernels.py tests/test_recurrent_kernels.py tests/test_signal_kernels.py \
            tests/test_kernels_special.py tests/test_simd_arguments.py tests/test_resample.py tests/test_weights.py \
            tests/test_decoder.py tests/test_threads.py
        ;;
    thread)
        build thread "-fsanitize=thread"
        TSAN_OPTIONS="halt_on_error=1:exitcode=66:report_signal_unsafe=0" OPENBLAS_NUM_THREADS=1 \
            LD_PRELOAD="$(runtime libtsan.so)" \
            check thread tests/test_threads.py tests/test_simd.py \
            -k "(thread or number or graph or exit or idle) and not fork and not child"
        ;;
    valgrind)
        build plain ""
        # NumPy detects the CPU that valgrind emulates; OpenBLAS must be told not to use AVX-512. Reports about Python
        # and NumPy are ignored: only those with one of the package's functions count.
        for backend in scalar sse2; do
            WHISPER_APR_BACKEND=$backend PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=Haswell \
                valgrind --log-file="$folder/memcheck.$backend" \
                "$python" "$folder/plain/tests/memcheck.py" "$folder/plain/src"
            grep "ERROR SUMMARY" "$folder/memcheck.$backend"
            if grep -B 3 -A 12 -E "\.inc\.h:|threads\.c:|_kernels\." "$folder/memcheck.$backend"; then exit 1; fi
        done
        ;;
    *)
        echo "unknown: $kind" >&2
        exit 2
        ;;
    esac
done
