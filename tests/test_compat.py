"""`compat.install()` and `python -m whisper_apr.compat` replace the two packages, in child processes too."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
REPLACED = "import faster_whisper.vad, faster_whisper; "
NAME = "print(faster_whisper.WhisperModel.__module__, faster_whisper.__file__)"

pytestmark = pytest.mark.system


def python(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python with another folder in its search path."""
    paths = filter(None, [path, os.environ.get("PYTHONPATH")])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def real(tmp_path: Path) -> str:
    """A folder with another package of the name faster_whisper, and an installed command that uses it."""
    (tmp_path / "faster_whisper").mkdir()
    (tmp_path / "faster_whisper" / "__init__.py").write_text("WhisperModel = None")
    (tmp_path / "prog.py").write_text(f"def main():\n    {REPLACED}{NAME}\n    return 3\n")
    (tmp_path / "prog-1.dist-info").mkdir()
    (tmp_path / "prog-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: prog\nVersion: 1\n")
    (tmp_path / "prog-1.dist-info" / "entry_points.txt").write_text("[console_scripts]\nprog = prog:main\n")
    return str(tmp_path)


def is_ours(output: str) -> bool:
    module, file = output.split(maxsplit=1)
    return module == "faster_whisper.transcribe" and Path(file.strip()).parts[-3:-1] == ("compat", "faster_whisper")


def test_install_replaces_the_package(real: str) -> None:
    twice = "import whisper_apr.compat as c; c.install(); c.install(); "
    assert is_ours(python("-c", twice + REPLACED + NAME, path=real).stdout)
    pickled = "import pickle; print(pickle.loads(pickle.dumps(faster_whisper.vad.VadOptions())).threshold)"
    assert python("-c", twice + REPLACED + pickled).stdout == "0.5\n"


OPENAI = "import whisper.audio, whisper; print(whisper.load_model.__module__, whisper.__file__)"


def test_install_replaces_openai_whisper() -> None:
    """Also in the processes that a program starts."""
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {OPENAI!r}])"
    in_child = python("-m", "whisper_apr.compat", "-m", "timeit", "-n1", "-r1", child).stdout
    here = python("-c", f"import whisper_apr.compat as c; c.install(); {OPENAI}").stdout
    for printed in (here, in_child):
        module, file = printed.splitlines()[0].split(maxsplit=1)
        assert module == "whisper.model"
        assert Path(file).parts[-3:-1] == ("compat", "whisper")


def test_transcribing_with_openai_whisper_replaced() -> None:
    script = (
        "import whisper_apr.compat as c; c.install()\n"
        "import pickle, whisper\n"
        "from whisper.utils import get_writer\n"
        "from whisper.normalizers import EnglishTextNormalizer\n"
        f"result = pickle.loads(pickle.dumps(whisper.load_model('digits'))).transcribe({str(DATA / 'en.wav')!r})\n"
        "print(EnglishTextNormalizer()(result['text']))"
    )
    done = python("-c", script)
    assert done.stdout == "31415\n", done.stderr


def test_metadata_of_the_replaced_packages() -> None:
    """Also where one of them is installed, with another version; other packages are found as before."""
    script = (
        "import whisper_apr.compat as c; c.install()\n"
        "from importlib import metadata as m\n"
        "print(m.version('faster-whisper'), m.version('Faster_Whisper'), m.version('openai-whisper'))\n"
        "print(m.requires('faster-whisper'), m.files('openai-whisper'), m.version('pytest'))\n"
        "print(m.distribution('openai-whisper').read_text('direct_url.json'))\n"
        "try: m.version('no-such-package')\n"
        "except m.PackageNotFoundError: print('none')"
    )
    expected = f"1.2.1 1.2.1 20250625\n['whisper-apr'] None {version('pytest')}\nNone\nnone\n"
    done = python("-c", script)
    assert done.stdout == expected, done.stderr


def test_a_package_that_is_imported_already_is_an_error(real: str) -> None:
    done = python("-c", "import faster_whisper, whisper_apr.compat as c; c.install()", path=real)
    assert "CompatError: faster_whisper was imported already, from" in done.stderr


@pytest.mark.parametrize("arguments", [["prog"], ["-m", "prog_script"], ["{real}/prog_script.py"]])
def test_programs(real: str, arguments: list[str]) -> None:
    """A command, a module and a script, with their arguments and status."""
    Path(real, "prog_script.py").write_text(
        "import sys, prog\nstatus = prog.main()\nprint(sys.argv[1:])\nsys.exit(status)"
    )
    arguments = [each.format(real=real) for each in arguments]
    done = python("-m", "whisper_apr.compat", *arguments, "--flag", path=real)
    first, *rest = done.stdout.splitlines()
    assert is_ours(first), done.stderr
    assert rest == ([] if arguments == ["prog"] else ["['--flag']"])
    assert done.returncode == 3


def test_processes_of_a_program(real: str) -> None:
    """Started by multiprocessing, which imports the program anew, and by subprocess."""
    Path(real, "parent.py").write_text(
        "import multiprocessing, subprocess, sys\n"
        "from prog import main\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=main)\n"
        "    child.start()\n"
        "    child.join()\n"
        "    subprocess.run([sys.executable, '-c', 'import prog; prog.main()'])\n"
    )
    done = python("-m", "whisper_apr.compat", str(Path(real, "parent.py")), path=real)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(map(is_ours, lines))


def test_transcribing_with_the_replaced_package() -> None:
    script = (
        "from faster_whisper import WhisperModel\n"
        f"segments, info = WhisperModel('digits').transcribe({str(DATA / 'en.wav')!r}, beam_size=1)\n"
        "print(info.language, ''.join(segment.text for segment in segments))"
    )
    done = python("-c", "import whisper_apr.compat as c; c.install()\n" + script)
    assert done.stdout.split() == ["en", "three", "one", "four", "one", "five"], done.stderr


def test_what_does_not_exist() -> None:
    done = python("-m", "whisper_apr.compat", "no-such-program")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no-such-program: no such file" in done.stderr
    assert python("-m", "whisper_apr.compat").returncode == 2
    assert "usage:" in python("-m", "whisper_apr.compat", "--help").stdout
