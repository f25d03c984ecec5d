"""openai-whisper's names for the writers."""

import os

import pytest

from whisper_apr.errors import OptionError
from whisper_apr.utils import get_writer

RESULT = {"text": " one", "segments": [{"start": 0.0, "end": 1.0, "text": " one"}], "language": "en"}


def test_file_has_the_name_of_the_recording(tmp_path):
    get_writer("txt", tmp_path)(RESULT, "some/where/recording.v2.wav")
    assert (tmp_path / "recording.v2.txt").read_text() == "one\n"
    get_writer("all", str(tmp_path))(RESULT, "x.wav", {"max_line_width": None}, highlight_words=False)
    assert len(list(tmp_path.glob("x.*"))) == 5


def test_wrong_formats_and_layouts(tmp_path):
    with pytest.raises(OptionError, match="doc"):
        get_writer("doc", tmp_path)
    with pytest.raises(OptionError, match="width"):
        get_writer("srt", tmp_path)(RESULT, "x.wav", {"width": 1})
    with pytest.raises(OptionError, match="layout of lines"):
        get_writer("srt", tmp_path)(RESULT, "x.wav", 5)
    with pytest.raises(OptionError, match="unknown output format"):
        get_writer(None, tmp_path)
    with pytest.raises(OptionError, match="output_dir must be a path, not int"):
        get_writer("srt", 5)
    with pytest.raises(OptionError, match="audio_path must be a path, not NoneType"):
        get_writer("srt", tmp_path)(RESULT, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "a.", "a.b.wav", ".a", "a..b", "a/b.wav"])
def test_file_names_are_those_of_openai_whisper(tmp_path, name):
    get_writer("txt", tmp_path)(RESULT, name)
    assert [path.name for path in tmp_path.iterdir()] == [
        f"{os.path.splitext(os.path.basename(name))[0]}.txt",
    ]
