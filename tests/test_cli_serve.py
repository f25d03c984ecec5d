"""The command `whisper-apr serve` without the extra that it needs."""

import sys

import pytest

from test_import import run
from whisper_apr.cli import main
from whisper_apr.cli.serve import REQUIRED


@pytest.mark.parametrize("name", REQUIRED)
def test_without_the_extra_one_sentence_names_it(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "modules", sys.modules | {each: None for each in REQUIRED if each != name})
    assert main(["serve", "--model", "digits"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("whisper-apr: the server needs the extra server, of which ")
    assert err.endswith(" is missing: pip install 'whisper-apr[server]'\n")
    assert err.count("\n") == 1


def test_other_commands_do_not_import_the_server():
    code = "from whisper_apr.cli import make_parser; make_parser(); print(*sys.modules)"
    loaded = run(code).split()
    assert "whisper_apr.cli.serve" in loaded
    assert not [name for name in loaded if name.startswith("whisper_apr.server") or name in REQUIRED]
