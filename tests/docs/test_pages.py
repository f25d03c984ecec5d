"""The documentation: its code runs, and every public name and option is in it."""

import ast
import dataclasses
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import whisper_apr
from whisper_apr import simd
from whisper_apr.cli import make_parser
from whisper_apr.compat.whisper._missing import MISSING
from whisper_apr.output import FORMATS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
PROMPT = "$ "
# Commands of `console` blocks that are not run, because they install, download, serve, record or take minutes.
NOT_RUN = re.compile(
    r"pip install|docker |pre-commit|(live|serve) --model|--model base|large-v3|\bbench\b|\bbash wheels/|benchmarks/|"
    r"web --open"
)

SERVER = ROOT / "docs" / "guides" / "server.md"  # its Python needs a server; tests/server/test_guide.py runs it


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text("utf-8"))
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, name, code in found if name == language]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `tests/data` is found and files may be written."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_commands(page: Path) -> None:
    """Run a page's commands in order; of those that are not run, the parser must accept the arguments."""
    for line in "".join(blocks(page, "console")).splitlines():
        command = line.removeprefix(PROMPT)
        words = shlex.split(command, comments=True)
        if not line.startswith(PROMPT) or (NOT_RUN.search(line) and words[0] != "whisper-apr"):
            continue
        if NOT_RUN.search(line):
            make_parser().parse_args(words[1:])
            continue
        program = (
            [sys.executable, "-m", "whisper_apr", *words[1:]] if words[0] == "whisper-apr" else ["sh", "-c", command]
        )
        run = subprocess.run(program, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
        assert run.returncode == 0, (line, run.stderr)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != SERVER], ids=named)
def test_python_runs(page: Path, checkout: Path) -> None:
    """After a page's commands, its blocks of Python run in order, as one program."""
    run_commands(page)
    program = "\n".join(blocks(page, "python"))
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=named)
def test_commands_run(page: Path, checkout: Path) -> None:
    run_commands(page)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_has_a_language_that_is_checked(page: Path) -> None:
    languages = {name for _, name, _ in BLOCK.findall(page.read_text("utf-8"))}
    assert languages <= {"python", "console", "text", "js", "html"}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "js")], ids=named)
def test_javascript_parses(page: Path, tmp_path: Path) -> None:
    for code in blocks(page, "js"):
        path = tmp_path / "block.mjs"
        path.write_text(code, "utf-8")
        subprocess.run(["node", "--check", path], check=True)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_lines_are_short(page: Path) -> None:
    """Lines have at most 120 columns, except tables and commands."""
    long = [
        line
        for line in page.read_text("utf-8").splitlines()
        if len(line) > 120 and not line.startswith(("|", PROMPT)) and "](" not in line
    ]
    assert not long


def test_the_guide_lists_what_is_missing_of_openai_whisper() -> None:
    text = (ROOT / "docs" / "guides" / "switching.md").read_text("utf-8")
    for module, names in MISSING.items():
        assert [name for name in names if f"`{module}.{name}`" not in text] == []


def test_the_guide_lists_every_format() -> None:
    names = f"{', '.join(FORMATS[:-1])} and {FORMATS[-1]}"
    assert names in " ".join((ROOT / "docs/guides/subtitles.md").read_text("utf-8").split())


# ---- every public name and option is documented ---------------------------------------------------------------------


def documented() -> set[str]:
    """Return the dotted names that the pages document with mkdocstrings, and the public members of named modules."""
    text = "\n".join(page.read_text("utf-8") for page in sorted(ROOT.glob("docs/reference/*.md")))
    names = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))
    for name in list(names):
        if not name.startswith("whisper_apr.") or name.count(".") != 1:
            continue
        with_all = importlib.import_module(name) if name in ("whisper_apr.simd", "whisper_apr.audio") else None
        names |= {f"{name}.{member}" for member in getattr(with_all, "__all__", ())}
    names |= {f"whisper_apr.{kind}" for kind in vars(whisper_apr.errors) if kind.endswith(("Error", "Warning"))}
    return names


# Names that are documented under another name.
ELSEWHERE = {
    "Recognizer": "whisper_apr.recognizer.Recognizer",
    "LineOptions": "whisper_apr.output.LineOptions",
    "load_audio": "whisper_apr.audio.load_audio",
    "log_mel_spectrogram": "whisper_apr.audio.log_mel_spectrogram",
    "pad_or_trim": "whisper_apr.audio.pad_or_trim",
    "tokenizer": "whisper_apr.tokenizer.get_tokenizer",
    "utils": "whisper_apr.utils.get_writer",
}


@pytest.mark.parametrize("name", whisper_apr.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert ELSEWHERE.get(name, f"whisper_apr.{name}") in documented()


def public_objects() -> list[tuple[str, object]]:
    names = [(f"whisper_apr.{name}", getattr(whisper_apr, name)) for name in whisper_apr.__all__]
    names += [(f"whisper_apr.simd.{name}", getattr(simd, name)) for name in simd.__all__]
    names += [(f"whisper_apr.audio.{name}", getattr(whisper_apr.audio, name)) for name in whisper_apr.audio.__all__]
    return [(name, value) for name, value in names if callable(value) and hasattr(value, "__module__")]


@pytest.mark.parametrize(("name", "value"), public_objects(), ids=[name for name, _ in public_objects()])
def test_every_public_name_has_a_docstring(name: str, value: object) -> None:
    if getattr(value, "__module__", "").startswith("whisper_apr"):
        assert (value.__doc__ or "").strip(), name
        assert not (value.__doc__ or "").startswith(f"{getattr(value, '__name__', '')}("), (
            "the docstring that dataclass generates"
        )


def field_docs(kind: type) -> dict[str, str]:
    """Return the descriptions of a dataclass's fields, from its `Attributes:` section or the strings after them."""
    source = ast.parse(Path(sys.modules[kind.__module__].__file__ or "").read_text("utf-8"))
    (node,) = (n for n in ast.walk(source) if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    docs = dict(re.findall(r"^ {4,8}(\w+)(?: \([^)]*\))?: (.+)$", kind.__doc__ or "", re.MULTILINE))
    for field, following in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    docs[field.target.id] = text
    return docs


@pytest.mark.parametrize(
    "kind",
    [
        whisper_apr.DecodingOptions,
        whisper_apr.TranscribeOptions,
        whisper_apr.LiveOptions,
        whisper_apr.VadOptions,
        whisper_apr.LineOptions,
    ],
)
def test_every_option_is_documented(kind: type) -> None:
    docs = field_docs(kind)
    assert {field.name for field in dataclasses.fields(kind)} <= docs.keys()


def test_every_flag_has_help() -> None:
    (commands,) = (action for action in make_parser()._actions if hasattr(action, "choices") and action.choices)
    for name, command in commands.choices.items():  # type: ignore[union-attr]
        for action in command._actions:
            assert action.help, (name, action.dest)
