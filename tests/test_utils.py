"""openai-whisper's names for the writers."""

import pytest

from whisper_apr.errors import OptionError
from whisper_apr.utils import get_writer

RESULT = {"text": " one", "segments": [{"start": 0.0, "end": 1.0, "text": " one"}], "language": "en"}


def test_a_file_is_written_under_the_recordings_name(tmp_path):
    get_writer("txt", tmp_path)(RESULT, "some/where/recording.v2.wav")
    assert (tmp_path / "recording.v2.txt").read_text() == "one\n"
    get_writer("all", str(tmp_path))(RESULT, "x.wav", {"max_line_width": None}, highlight_words=False)
    assert len(list(tmp_path.glob("x.*"))) == 5


def test_wrong_formats_and_layouts(tmp_path):
    with pytest.raises(OptionError, match="doc"):
        get_writer("doc", tmp_path)
    with pytest.raises(OptionError, match="width"):
        get_writer("srt", tmp_path)(RESULT, "x.wav", {"width": 1})
