"""The C sources: they compile without warnings, each kernel file by itself, and the vector vocabulary is documented."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SIMD = Path(__file__).resolve().parent.parent / "src/whisper_apr/_simd"
VECTOR_HEADERS = [path for path in sorted(SIMD.glob("vec/*.h")) if path.stem not in ("common", "default")]
README = (SIMD / "vec/README.md").read_text(encoding="utf-8")
VOCABULARY = re.compile(r"\b(?:v[fiqb4]_\w+|V[FQ4]_\w+|v[fiqb4])\b")
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wstrict-prototypes", "-Werror"]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]
FLAGS = {
    "avx2": AVX2,
    "avx2vnni": [*AVX2, "-mavxvnni"],
    "avx512": AVX512,
    "avx512vnni": [*AVX512, "-mavx512vnni"],
    "avx512bf16": [*AVX512, "-mavx512bf16"],
    "neondot": ["-march=armv8.2-a+dotprod"],
    "neoni8mm": ["-march=armv8.2-a+dotprod+i8mm"],
    "neonbf16": ["-march=armv8.2-a+bf16"],
    "wasm128": ["-msimd128"],
}
TARGETS = {
    "x86_64": ["scalar", "sse2", "avx2", "avx2vnni", "avx512", "avx512vnni", "avx512bf16"],
    "aarch64": ["scalar", "neon", "neondot", "neoni8mm", "neonbf16"],
    "arm64": ["scalar", "neon", "neondot", "neoni8mm", "neonbf16"],
}


def names(pattern: str) -> list[str]:
    """Return the sources that match, relative to _simd."""
    return sorted(path.relative_to(SIMD).as_posix() for path in SIMD.glob(pattern) if path.name != "_kernels.c")


def compile_source(name: str, *flags: str) -> None:
    """Compile one source without output, with warnings as errors. Skip the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    # -O1: without optimization, GCC's intrinsics are macros, which convert their arguments themselves.
    command = [compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", "-fsyntax-only", *WARNINGS, *flags, "-x", "c", SIMD / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.system
@pytest.mark.parametrize("name", names("**/*.inc.h"))
def test_a_kernel_file_compiles_by_itself(name: str) -> None:
    compile_source(name, "-Wno-unused-function")


@pytest.mark.system
@pytest.mark.parametrize("name", [f"targets/{name}.c" for name in TARGETS.get(platform.machine(), ["scalar"])])
def test_a_target_compiles_without_warnings(name: str) -> None:
    compile_source(name, *FLAGS.get(Path(name).stem, []))


@pytest.mark.system
@pytest.mark.parametrize("name", names("*.c"))
def test_a_source_compiles_without_warnings(name: str) -> None:
    compile_source(name)


def required() -> set[str]:
    """Return the names that README.md requires of every vector header."""
    parts = re.findall(r"Required of every header:\n(.*?)(?=\n## |\nOptional|\Z)", README, flags=re.DOTALL)
    entries = [entry for part in parts for entry in re.findall(r"^- (`[^:]*):", part, flags=re.MULTILINE)]
    return {name for entry in entries for name in VOCABULARY.findall(entry)}


def defined(header: Path) -> set[str]:
    """Return the names that a vector header defines: macros, types and inline functions."""
    text = header.read_text(encoding="utf-8")
    macros = re.findall(r"#define (\w+)", text)
    types = re.findall(r"(?:typedef [\w ]+|^\}) ((?:\w+, )*\w+);", text, flags=re.MULTILINE)
    functions = re.findall(r"APR_INLINE \w+ \*?(\w+)\(", text)
    return {*macros, *functions, *(name for group in types for name in group.split(", "))}


def test_the_readme_requires_a_vocabulary() -> None:
    assert {"VF_LANES", "vf", "vf_load_n", "vi", "vq_dot", "v4_merge_parts"} <= required()


@pytest.mark.parametrize("header", VECTOR_HEADERS, ids=lambda header: header.stem)
def test_a_vector_header_defines_what_the_readme_requires(header: Path) -> None:
    assert required() - defined(header) == set()


@pytest.mark.parametrize("header", VECTOR_HEADERS, ids=lambda header: header.stem)
def test_the_readme_explains_every_name_of_a_vector_header(header: Path) -> None:
    explained = set(VOCABULARY.findall(README))
    assert set(VOCABULARY.findall(header.read_text(encoding="utf-8"))) - explained == set()


def test_no_line_of_the_c_sources_is_longer_than_120_columns() -> None:
    sources = [*names("**/*.c"), *names("**/*.h"), *names("vec/*.md")]
    lines = [(name, line) for name in sources for line in (SIMD / name).read_text(encoding="utf-8").splitlines()]
    assert [(name, line) for name, line in lines if len(line) > 120] == []
