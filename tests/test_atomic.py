"""Files that appear whole or not at all. What a killed process leaves: tests/test_killed.py."""

import os
import time
from pathlib import Path

import pytest

from whisper_apr.atomic import ABANDONED, write_atomically


@pytest.mark.parametrize("name", ["plain.apr", "with [signs] * ?.apr", "é" * 120 + ".apr"])
def test_whole_or_as_it_was(tmp_path: Path, name: str) -> None:
    if os.name == "nt" and "*" in name:
        name = "with [signs].apr"  # Windows allows no others
    path = tmp_path / name
    for content in (b"first", b"second"):
        with write_atomically(path) as file:
            file.write(content)
            assert path.exists() == (content == b"second")
        assert path.read_bytes() == content
    with pytest.raises(TypeError), write_atomically(path) as file:
        file.writelines([b"third", "no bytes"])
    assert path.read_bytes() == b"second"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_what_was_abandoned_is_removed(tmp_path: Path) -> None:
    """A day after it was last written, by who writes the same file. What may still be at work is left alone, and so are others' files."""
    with write_atomically(tmp_path / "[a].apr") as file:
        at_work = tmp_path / Path(file.name).name
        kept = [at_work.with_name(name) for name in (".a.apr.0123.part", ".[a].apr.part", ".b.apr.0123.part")]
        old = at_work.with_name(".[a].apr.0123456789ab.part")
        for each in (*kept, old):
            each.write_bytes(b"half")
            os.utime(each, (time.time() - ABANDONED - 60,) * 2)
        with write_atomically(tmp_path / "[a].apr") as other:
            other.write(b"whole")
        assert at_work.exists()
    assert not old.exists()
    assert all(each.exists() for each in kept)
