"""Run mypy --strict and pyright on uses of whisper_apr, and compare what they report with what is expected.

    python tests/typing/check.py [PATH ...]

There must be no complaint about correct.py and about each PATH, a file or a directory. Of misuse.py, each line with a
comment `# error: CODE RULE` must give mypy's error CODE and pyright's error RULE, and no other line any (of a call with
overloads, pyright may report several rules; they have commas between). Packages that
are not installed are passed over. Needs mypy and pyright (the extra `lint`).
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MISUSE, CORRECT = HERE / "misuse.py", HERE / "correct.py"

Complaint = tuple[str, int, str]  # file, line, error code

# about a package that is not installed or has no types, and about decorators that it provides
_IMPORTS = (
    *("import-not-found", "import-untyped", "untyped-decorator"),
    *("reportMissingImports", "reportMissingModuleSource"),
)

_EXPECTED = re.compile(r"# error: (\S+) (\S+)$")
_MYPY = re.compile(r"(?P<file>.+?):(?P<line>\d+): error: .*?\[(?P<code>[\w-]+)\]$")


def expected(checker: str) -> set[Complaint]:
    """Return the complaints that misuse.py states for "mypy" or "pyright"."""
    lines = MISUSE.read_text(encoding="utf-8").splitlines()
    found = ((number, _EXPECTED.search(line)) for number, line in enumerate(lines, 1))
    group = 1 if checker == "mypy" else 2
    return {(str(MISUSE), number, code) for number, match in found if match for code in match[group].split(",")}


def python_files(paths: Sequence[Path]) -> list[str]:
    """Return the Python files among the paths and in the directories among them."""
    found = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return [str(file.resolve()) for file in found]


def mypy(files: Sequence[str]) -> set[Complaint]:
    """Return mypy's errors. Each file is a program by itself, so that two may have the same name."""
    complaints: set[Complaint] = set()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "mypy.ini")
        settings.write_text(
            f"[mypy]\nstrict = True\nmypy_path = {ROOT}/src\n[mypy-whisper_apr.*]\nignore_errors = True\n",
            encoding="utf-8",
        )
        options = ["--no-error-summary", "--show-absolute-path", "--no-pretty", f"--config-file={settings}"]
        for file in files:
            command = [sys.executable, "-m", "mypy", *options, f"--cache-dir={folder}/cache", file]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 1):
                raise RuntimeError(f"mypy failed on {file}: {done.stdout}{done.stderr}")
            for line in done.stdout.splitlines():
                if match := _MYPY.fullmatch(line):
                    complaints.add((match["file"], int(match["line"]), match["code"]))
    return complaints


def pyright(files: Sequence[str]) -> set[Complaint]:
    """Return pyright's errors and warnings in its basic mode."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # settings: pyproject.toml
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pyright failed: {done.stdout}{done.stderr}")
    report = json.loads(done.stdout)
    if report["summary"]["filesAnalyzed"] != len(files):
        raise RuntimeError(f"pyright read {report['summary']['filesAnalyzed']} of {len(files)} files")
    return {
        (each["file"], each["range"]["start"]["line"] + 1, each.get("rule", each["message"]))
        for each in report["generalDiagnostics"]
        if each["severity"] in ("error", "warning")
    }


CHECKERS = {"mypy": mypy, "pyright": pyright}


def differences(checker: str, paths: Sequence[Path] = ()) -> list[str]:
    """Return one line for each complaint that is missing or not expected; none if all is as it should be."""
    reported = CHECKERS[checker](python_files([MISUSE, CORRECT, *paths]))
    found = {complaint for complaint in reported if complaint[-1] not in _IMPORTS}
    wanted = expected(checker)
    missing = [f"{file}:{line}: {checker} does not report {code}" for file, line, code in sorted(wanted - found)]
    return missing + [f"{file}:{line}: {checker} reports {code}" for file, line, code in sorted(found - wanted)]


def main() -> int:
    """Check with mypy and pyright, and return the exit status."""
    lines = [line for checker in CHECKERS for line in differences(checker, [Path(path) for path in sys.argv[1:]])]
    print("\n".join(lines) or f"mypy and pyright report the {len(expected('mypy'))} misuses and nothing else")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
