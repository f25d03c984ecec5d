"""What whisperX and whisper-live use of openai-whisper and faster-whisper exists in whisper_apr.compat.

Their wheels are downloaded from PyPI without what they require, and read, neither installed nor imported.
"""

import subprocess
import sys
import zipfile
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest

from imported_names import uses
from test_compat_imports import IMPORTS

WHEELS = {
    "whisperX": "whisperx==3.8.6 sha256:cb6d4fcd3fb6c42305cb8b222a33a0b78f6b657e9db3b714345fe43dc0a69c1f",
    "whisper-live": "whisper-live==0.10.0 sha256:0a37767b4e06106ef119a5a385a0a3f7d09df446fcfb8eccd0f98167f1dd77a5",
}
MAX_BYTES = 1 << 20  # limit for one source file


def test_finds_every_form() -> None:
    source = "import whisper\nfrom faster_whisper.utils import a as b\nimport faster_whisper.vad as v\nwhisper.c(v.d.e)"
    source += "\nfrom .whisper import f\nfrom whisper_x import g\nimport whispers; whispers.h"
    assert uses(source) == {
        *(("whisper", "__name__"), ("whisper", "c"), ("faster_whisper.utils", "a")),
        *(("faster_whisper.vad", "__name__"), ("faster_whisper.vad", "d")),
    }


@pytest.mark.parametrize("program", WHEELS)
def test_every_name_exists(program: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(WHEELS[program].replace(" ", " --hash="))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--ignore-requires-python", "--dest", str(tmp_path)]
    subprocess.run([*command, "-r", tmp_path / "requirements.txt"], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    found = set()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".py") and member.file_size <= MAX_BYTES:
                found |= uses(archive.read(member).decode())
    names = defaultdict(set)
    for module, name in found:
        names[module].add(name)
    print(dict(names))
    for module in names:
        ours = import_module(f"whisper_apr.compat.{module}")
        assert [name for name in sorted(names[module]) if not hasattr(ours, name)] == [], module
    listed = {(module, name) for module, names in IMPORTS[program].items() for name in names.split()}
    assert listed == {(module, name) for module, name in found if name != "__name__"}  # the plain tests' table
