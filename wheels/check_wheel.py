"""Check a wheel: its name, size, contents and machine code, and that it works in a clean environment.

    python check_wheel.py WHEEL [--pythons python3.11 python3.12 ...]

Requires the package `packaging`, and binutils for Linux wheels. The wheel is installed and tested outside the checkout,
in a new environment for each Python that is found. Checks that do not exist for a platform are reported.
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
MAX_SIZE = 8_500_000  # bytes, 5.5 million of which are the digits model and 0.9 million the VAD
EXTENSION = re.compile(r"whisper_apr/_simd/_kernels\.([\w-]+\.)?(so|pyd)")
NEEDED = ("whisper_apr/py.typed", "whisper_apr/assets/digits.pt", "whisper_apr/assets/multilingual.tokens.z")

# Source files and exported functions whose code runs only on CPUs with the required instructions, and GCC's atomics,
# which check the CPU themselves. Everything else must be baseline code.
WIDE = re.compile(r"\b(avx\w*|neon\w+)\.c|apr_\w+_(avx\w*|neon\w+)|__aarch64_\w+")
# Instructions beyond x86-64's baseline (SSE2): all with VEX or EVEX encoding, which begin with v; SSE3 to SSE4.2, AES,
# BMI and similar. tzcnt is not one of them: it is encoded as `rep bsf`, which older CPUs execute as bsf with the same
# result.
WIDE_X86 = re.compile(
    r"v(?!err|erw)\w+|addsubp[sd]|h(add|sub)p[sd]|mov(ddup|s[hl]dup)|lddqu|monitor|mwait|p(abs|sign)[bwd]"
    r"|ph(add|sub)\w+|pmaddubsw|pmulhrsw|pshufb|palignr|p?blend\w+|dpp[sd]|extractps|insertps|movntdqa|mpsadbw"
    r"|packusdw|pcmp(eqq|gtq|[ei]str[im])|p(ex|in)sr[bdq]|phminposuw|pm(ax|in)(s[bd]|u[wd])|pmov[sz]x\w+|pmuldq"
    r"|pmulld|ptest|round[sp][sd]|crc32\w?|popcnt|aes\w+|pclmul\w+|sha(1|256)\w+|lzcnt|andn|bextr|bls(i|msk|r)"
    r"|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|adcx|adox|movbe|xsave\w*|gf2p8\w+|k(mov|or|and|xnor|xor)\w+"
)
# Instructions beyond ARMv8.0-A: dot product, half precision, bfloat16, int8 matrices, SVE predicates.
WIDE_ARM = re.compile(
    r"[su]dot|usdot|bf(cvt|dot|mlal|mmla)\w*|[su]mmla|usmmla|f(mla|mls)l2?|ptrue|whilelo|ld1w|sqrdml[as]h|cas\w*"
    r"|ldadd\w*|swp\w*|fc(ad|ml)d"
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
    """Check the name, size and file list of a wheel; return its platform tag."""
    name, _, _, tags = parse_wheel_filename(wheel.name)
    if name != "whisper-apr":
        fail(f"{wheel.name} is a wheel of {name}, not of whisper-apr")
    pairs = {(tag.interpreter, tag.abi) for tag in tags}
    if pairs not in ({("cp311", "abi3")}, {("cp314", "cp314t")}):
        fail(f"{wheel.name}: expected the tag cp311-abi3, or cp314-cp314t, found {sorted(map(str, tags))}")
    size = wheel.stat().st_size
    if size > MAX_SIZE:
        fail(f"{wheel.name} has {size} bytes; at most {MAX_SIZE} are allowed")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    extensions = [n for n in names if EXTENSION.fullmatch(n)]
    if len(extensions) != 1:
        fail(f"expected one extension, found {extensions}")
    missing = [n for n in NEEDED if n not in names]
    stray = [n for n in names if n.endswith((".c", ".h", ".pyx", ".pyc", ".o", ".a")) or n.startswith("tests/")]
    if missing or stray:
        fail(f"missing from the wheel: {missing}; unexpected in it: {stray}")
    platform = sorted(tag.platform for tag in tags)[0]
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files, {extensions[0].rsplit('/', 1)[1]}")
    return platform


# ---- machine code --------------------------------------------------------------------------------------------------


def wide_functions(extension: Path) -> set[str]:
    """Return the addresses of the functions of wide targets. A symbol table lists each file before its functions."""
    found, file = set(), ""
    for line in run("readelf", "--symbols", "--wide", extension).splitlines():
        match line.split():
            case [_, _, _, "FILE", _, _, _, *name]:
                file = "".join(name)
            case [_, address, _, "FUNC", _, _, _, name] if WIDE.fullmatch(file) or WIDE.fullmatch(name):
                found.add(address.lstrip("0"))
    return found


def check_code(extension: Path, platform: str) -> None:
    """Check that only wide targets use instructions beyond the baseline, and that only PyInit__kernels is exported."""
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
        fail("no function of a wide target was found; the check needs a symbol table")
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
        fail("no wide instruction was found in the wide targets, so the check does not work")
    print(
        f"machine code: {counts['baseline']} baseline instructions, none beyond the baseline; "
        f"{counts['beyond']} beyond it among the {counts['wide']} of the wide targets"
    )


# ---- running ------------------------------------------------------------------------------------------------------


def find_pythons(free_threaded: bool) -> list[str]:
    """Return every Python from 3.11 on that is on PATH or in pyenv, one per version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for minor in range(11, 20):
        name = f"python3.{minor}{'t' if free_threaded else ''}"
        for path in [sys.executable, shutil.which(name), *sorted(pyenv.glob(f"*/bin/{name}"))]:
            code = "import sys, sysconfig; print(sys.version_info[1], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
            done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False) if path else None
            if done and done.stdout.split() == [str(minor), str(int(free_threaded))]:  # pyenv's shims may not work
                found.setdefault(minor, str(path))
    return list(found.values())


def check_running(wheel: Path, python: str, folder: Path) -> None:
    """Install the wheel in a new environment; test each backend, a transcription on each, and the kernel tests."""
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
    parser.add_argument("--pythons", nargs="+", help="interpreters to test with (default: all that are found)")
    parser.add_argument("--only-file", action="store_true", help="do not install it, for a wheel of another platform")
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
        fail("no Python was found for this wheel")
    for python in pythons:
        with tempfile.TemporaryDirectory() as name:
            check_running(wheel, python, Path(name).resolve())


if __name__ == "__main__":
    main()
