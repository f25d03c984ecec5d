"""Checks a wheel from its file alone: its name, size and contents, its machine code, and that it works in a clean environment.

python check_wheel.py WHEEL [--pythons python3.11 python3.12 ...]

Needs the package `packaging`, and for Linux' wheels binutils. The installed package runs outside the checkout, in an environment made
for each Python that is found. What is not checked on a platform is said.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
MAX_SIZE = 8_000_000  # bytes; the digits model is 5.5 million of them
EXTENSION = re.compile(r"whisper_apr/_simd/_kernels\.([\w-]+\.)?(so|pyd)")
NEEDED = ("whisper_apr/py.typed", "whisper_apr/assets/digits.pt", "whisper_apr/assets/multilingual.tokens.z")

# Source files, and functions that they offer the dispatcher, whose code only runs where the processor has what they were built for; and
# GCC's atomics, which ask the processor themselves. All else is the baseline.
WIDE = re.compile(r"\b(avx\w*|neondot)\.c|apr_\w+_(avx\w*|neondot)|__aarch64_\w+")
# What x86-64's baseline (SSE2) has not: everything in VEX and EVEX coding begins with v; then SSE3 to SSE4.2, AES, BMI and their like.
# tzcnt is not among them: compilers write it as `rep bsf`, which older processors run as bsf with the same result.
WIDE_X86 = re.compile(
    r"v(?!err|erw)\w+|addsubp[sd]|h(add|sub)p[sd]|mov(ddup|s[hl]dup)|lddqu|monitor|mwait|p(abs|sign)[bwd]|ph(add|sub)\w+|pmaddubsw|pmulhrsw"
    r"|pshufb|palignr|p?blend\w+|dpp[sd]|extractps|insertps|movntdqa|mpsadbw|packusdw|pcmp(eqq|gtq|[ei]str[im])|p(ex|in)sr[bdq]"
    r"|phminposuw|pm(ax|in)(s[bd]|u[wd])|pmov[sz]x\w+|pmuldq|pmulld|ptest|round[sp][sd]|crc32\w?|popcnt|aes\w+|pclmul\w+|sha(1|256)\w+"
    r"|lzcnt|andn|bextr|bls(i|msk|r)|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|adcx|adox|movbe|xsave\w*|gf2p8\w+|k(mov|or|and|xnor|xor)\w+"
)
# Beyond ARMv8.0-A: the dot product, half-precision arithmetic, bfloat16, int8 matrices, SVE's predicates.
WIDE_ARM = re.compile(
    r"[su]dot|usdot|bf(cvt|dot|mlal|mmla)\w*|[su]mmla|usmmla|f(mla|mls)l2?|ptrue|whilelo|ld1w|sqrdml[as]h|cas\w*|ldadd\w*|swp\w*|fc(ad|ml)d"
)


PREFIXES = "lock|repz?|repnz|notrack|bnd|data16|cs|ds"


def fail(message: str) -> None:
    raise SystemExit(f"check_wheel: {message}")


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        fail(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout[-8000:]}{done.stderr[-8000:]}")
    return done.stdout


# ---- the file ------------------------------------------------------------------------------------------------------


def check_contents(wheel: Path) -> str:
    """The archive's name, size and names; returns the platform that it is for."""
    name, _, _, tags = parse_wheel_filename(wheel.name)
    if name != "whisper-apr":
        fail(f"{wheel.name} is a wheel of {name}")
    pairs = {(tag.interpreter, tag.abi) for tag in tags}
    if pairs not in ({("cp311", "abi3")}, {("cp314", "cp314t")}):
        fail(f"{wheel.name}: expected the tag cp311-abi3, or cp314-cp314t, found {sorted(map(str, tags))}")
    size = wheel.stat().st_size
    if size > MAX_SIZE:
        fail(f"{wheel.name} has {size} bytes, {MAX_SIZE} are allowed")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    extensions = [n for n in names if EXTENSION.fullmatch(n)]
    if len(extensions) != 1:
        fail(f"expected one extension, found {extensions}")
    missing = [n for n in NEEDED if n not in names]
    stray = [n for n in names if n.endswith((".c", ".h", ".pyx", ".pyc", ".o", ".a")) or n.startswith("tests/")]
    if missing or stray:
        fail(f"missing from the wheel: {missing}; not wanted in it: {stray}")
    platform = sorted(tag.platform for tag in tags)[0]
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files, {extensions[0].rsplit('/', 1)[1]}")
    return platform


# ---- machine code --------------------------------------------------------------------------------------------------


def wide_functions(extension: Path) -> set[str]:
    """The addresses of the functions of wide targets. A symbol table names each file before that file's own functions."""
    found, file = set(), ""
    for line in run("readelf", "--symbols", "--wide", extension).splitlines():
        match line.split():
            case [_, _, _, "FILE", _, _, _, *name]:
                file = "".join(name)
            case [_, address, _, "FUNC", _, _, _, name] if WIDE.fullmatch(file) or WIDE.fullmatch(name):
                found.add(address.lstrip("0"))
    return found


def check_code(extension: Path, platform: str) -> None:
    """Nothing outside the wide targets uses an instruction that the baseline has not; nothing but the module's entry is exported."""
    if "linux" not in platform:
        print(f"machine code: not checked for {platform}")
        return
    prefix = "aarch64-linux-gnu-" if "aarch64" in platform and os.uname().machine != "aarch64" else ""
    forbidden = WIDE_ARM if "aarch64" in platform else WIDE_X86
    exported = [line.split()[-1] for line in run(f"{prefix}nm", "-D", "--defined-only", extension).splitlines()]
    if exported != ["PyInit__kernels"]:
        fail(f"exported symbols: {exported}, expected only PyInit__kernels")

    wide = wide_functions(extension)
    if not wide:
        fail("no function of a wide target was found: without a symbol table nothing can be proved")
    counts = {"baseline": 0, "wide": 0, "beyond": 0}
    found, owner, kind = [], "", "baseline"
    for line in run(f"{prefix}objdump", "--disassemble", "--no-show-raw-insn", extension).splitlines():
        if match := re.match(r"0*([0-9a-f]+) <(.+)>:$", line):
            owner, kind = match[2], "wide" if match[1] in wide else "baseline"
        elif match := re.match(rf"\s+[0-9a-f]+:\s+(?:(?:{PREFIXES})\s+)*(\S+)\s*(.*)", line):
            counts[kind] += 1
            if forbidden.fullmatch(match[1]) or re.search(r"%[yz]mm|%k[0-7]", match[2]):
                counts["beyond"] += kind == "wide"
                found += [f"{owner}: {match[1]} {match[2]}"] if kind == "baseline" else []
    if found:
        fail(f"{len(found)} instructions beyond the baseline outside the wide targets:\n" + "\n".join(found[:20]))
    if not counts["beyond"]:
        fail("not one wide instruction was recognised in the wide targets: the check is blind")
    print(
        f"machine code: {counts['baseline']} baseline instructions, none beyond the baseline; "
        f"{counts['beyond']} beyond it among the {counts['wide']} of the wide targets"
    )


# ---- at work -------------------------------------------------------------------------------------------------------


def find_pythons(free_threaded: bool) -> list[str]:
    """Every Python from 3.11 on that is on PATH or that pyenv keeps, one of each version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(11, 20):
        name = f"python3.{minor}{'t' if free_threaded else ''}"
        for path in [sys.executable, shutil.which(name), *sorted(pyenv.glob(f"*/bin/{name}"))]:
            code = "import sys, sysconfig; print(sys.version_info[1], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
            done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False) if path else None
            if done and done.stdout.split() == [str(minor), str(int(free_threaded))]:  # pyenv's shims may lead nowhere
                found.setdefault(minor, str(path))
    return list(found.values())


def check_work(wheel: Path, python: str, folder: Path) -> None:
    """In a clean environment: every backend forced in turn, a transcription on each, the kernel tests."""
    run(python, "-m", "venv", folder / "venv")
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary", ":all:", f"{wheel}[test]")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "wheels/digits.py"):
        shutil.copy(ROOT / name, folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WHISPER_APR"))}
    here = {"cwd": folder, "env": environment}
    code = "import whisper_apr; from whisper_apr import simd; print(whisper_apr.__file__, *simd.backends())"
    place, *backends = run(python, "-c", code, **here).split()
    if not Path(place).is_relative_to(folder):
        fail(f"{place} was imported, not the wheel in {folder}")
    for name in backends:
        code = f"from whisper_apr import simd; assert simd.backend() == {name!r}, simd.backend()"
        run(python, "-c", code, cwd=folder, env=environment | {"WHISPER_APR_BACKEND": name})
    digits = run(python, "digits.py", "tests/data", "--recordings", "en.wav", "fr.wav", **here).splitlines()
    tests = sorted({*Path(folder, "tests").glob("test_*kernels*.py"), folder / "tests/test_simd.py"})
    closing = run(python, "-m", "pytest", "-q", *tests, **here).splitlines()[-1]
    print(f"{digits[0].split(': ')[1]}: {digits[-1]}; {closing}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("wheel", type=Path)
    parser.add_argument(
        "--pythons", nargs="+", help="interpreters to try it with; all that are found where it is not given"
    )
    parser.add_argument("--only-file", action="store_true", help="do not install it: for a wheel of another platform")
    options = parser.parse_args()
    wheel = options.wheel.resolve()
    platform = check_contents(wheel)
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(wheel) as archive:
        (extension,) = (n for n in archive.namelist() if EXTENSION.fullmatch(n))
        check_code(Path(archive.extract(extension, name)), platform)
    if options.only_file:
        return
    pythons = options.pythons or find_pythons(free_threaded="cp314t" in wheel.name)
    if not pythons:
        fail("no Python was found that this wheel is for")
    for python in pythons:
        with tempfile.TemporaryDirectory() as name:
            check_work(wheel, python, Path(name).resolve())


if __name__ == "__main__":
    main()
