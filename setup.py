"""Build the extension module `whisper_apr._simd._kernels`. Metadata is in pyproject.toml.

Each instruction set is compiled into a separate static library with its own compiler flags. The set of libraries
depends on the target platform, never on the CPU of the build machine.
"""

import copy
import glob
import os
import sysconfig

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SIMD = "src/whisper_apr/_simd"
HEADERS = sorted(glob.glob(f"{SIMD}/**/*.h", recursive=True))
RELAXED_SIMD = ["-msimd128", "-mrelaxed-simd"]
RELAXED_EXTENSION = "whisper_apr._simd._kernels_relaxed"

# The platform's name ends in its architecture: linux-x86_64, macosx-11.0-arm64, win-amd64, pyemscripten_2026_0_wasm32.
platform = os.environ.get("_PYTHON_HOST_PLATFORM", sysconfig.get_platform())
msvc = platform.startswith("win")

if platform.endswith(("x86_64", "amd64")):
    targets = {
        "sse2": [],
        "avx2": ["/arch:AVX2"] if msvc else ["-mavx2", "-mfma", "-mf16c"],
        "avx512": ["/arch:AVX512"]
        if msvc
        else ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c"],
    }
    targets["avx2vnni"] = [*targets["avx2"], *([] if msvc else ["-mavxvnni"])]
    targets["avx512vnni"] = [*targets["avx512"], *([] if msvc else ["-mavx512vnni"])]
    targets["avx512bf16"] = [*targets["avx512"], *([] if msvc else ["-mavx512bf16"])]
elif platform.endswith(("aarch64", "arm64")):
    targets = {"neon": []}
    if not msvc:
        targets["neondot"] = ["-march=armv8.2-a+dotprod"]
        targets["neoni8mm"] = ["-march=armv8.2-a+dotprod+i8mm"]
        targets["neonbf16"] = ["-march=armv8.2-a+bf16"]
elif platform.endswith("wasm32"):
    targets = {"wasm128": ["-msimd128"], "wasm128relaxed": RELAXED_SIMD}
elif platform.endswith("universal2"):
    # One compiler call would build both architectures, but their flags differ.
    raise SystemExit(
        f"cannot build for {platform}: set _PYTHON_HOST_PLATFORM and ARCHFLAGS to one architecture, for example "
        '_PYTHON_HOST_PLATFORM=macosx-11.0-arm64 ARCHFLAGS="-arch arm64", or install a wheel'
    )
else:
    targets = {}  # only `scalar`

if msvc:
    common = ["/O2", "/std:c11", "/experimental:c11atomics", "/fp:precise"]
    scalar = ["/d2Qvec-"]
else:
    # -ffp-contract=off: fuse a product and a sum only where a kernel calls vf_fma, so that results are reproducible.
    # -fvisibility=hidden: export only the module's entry point.
    # -g0: sysconfig often passes on -g, and debug information would make up three quarters of the wheel.
    common = ["-O3", "-std=c11", "-D_GNU_SOURCE", "-ffp-contract=off", "-fvisibility=hidden", "-g0"]
    # The scalar reference must not be vectorized by the compiler.
    scalar = (
        ["-fno-tree-vectorize", "-fno-tree-slp-vectorize"]
        if not platform.endswith("wasm32")
        else ["-fno-vectorize", "-fno-slp-vectorize"]
    )

if platform.endswith("wasm32"):
    # Pyodide has no threads, but web/static/threads.js adds some to the pool, which therefore needs atomic operations.
    # These threads have no C library: the instructions for bulk memory replace its memcpy and memset.
    common += ["-matomics", "-mbulk-memory"]

common += os.environ.get("WHISPER_APR_CFLAGS", "").split()  # last, to override: see tests/sanitize.sh

limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")  # free-threaded builds have no stable ABI yet

libraries = [
    (
        f"whisper_apr_{name}",
        {
            "sources": [f"{SIMD}/targets/{name}.c"],
            "include_dirs": [SIMD],
            "cflags": common + flags,
            "obj_deps": {"": [*HEADERS, "setup.py"]},
        },
    )
    for name, flags in ({"scalar": scalar} | targets).items()
]

extension = Extension(
    "whisper_apr._simd._kernels",
    [f"{SIMD}/{name}" for name in ("_kernels.pyx", "cpu.c", "dispatch.c", "embed.c", "lz4.c", "threads.c")],
    include_dirs=[SIMD],
    depends=[
        *HEADERS,
        f"{SIMD}/_kernels.pxd",
        *sorted(glob.glob(f"{SIMD}/*.pxi")),
        *sorted(glob.glob(f"{SIMD}/targets/*.c")),
        "setup.py",
    ],
    define_macros=[("Py_LIMITED_API", "0x030b0000")] if limited_api else [],
    py_limited_api=limited_api,
    extra_compile_args=common,
    extra_link_args=[] if msvc or platform.endswith("wasm32") else ["-pthread"],
)


extensions = cythonize([extension])
if platform.endswith("wasm32"):
    # An engine without relaxed SIMD refuses a module that uses it. So there is a second module, with these kernels too.
    # It is loaded instead of the first where they are asked for (simd/dispatch.py).
    relaxed = copy.deepcopy(extensions[0])
    relaxed.name = RELAXED_EXTENSION
    relaxed.define_macros += [("APR_RELAXED_SIMD", "1")]
    relaxed.extra_link_args += RELAXED_SIMD
    extensions.append(relaxed)


class BuildExtension(build_ext):
    """Build the static libraries first, which `build_ext --inplace` alone does not do."""

    def run(self):
        self.run_command("build_clib")
        super().run()

    def get_ext_filename(self, fullname):
        """Let the file of the module with relaxed SIMD not end in .so: Pyodide loads all those of a package."""
        if fullname.endswith(RELAXED_EXTENSION.rpartition(".")[2]):
            return os.path.join(*fullname.split(".")) + ".wasm"
        return super().get_ext_filename(fullname)


setup(
    libraries=libraries,
    ext_modules=extensions,
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited_api else {},
    # a page downloads its model by itself
    exclude_package_data={"whisper_apr": ["assets/digits.pt"]} if platform.endswith("wasm32") else {},
)
