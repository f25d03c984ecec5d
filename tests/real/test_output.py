"""Subtitles of speech are valid in every layout, and no line begins with a closing mark."""

from itertools import pairwise
from pathlib import Path

import pytest

from whisper_apr import Recognizer
from whisper_apr.output.line_breaks import may_break
from written import read_srt, read_vtt, seen, written

CLOSING = "、。」）！？"  # noqa: RUF001


@pytest.mark.parametrize("append", [None, ""], ids=["marks belong to words", "marks are words"])
@pytest.mark.parametrize("name", ["lp_test_ja.wav", "sense_0870.wav"])
def test_layouts(base: Recognizer, recordings: Path, name: str, append: str | None) -> None:
    marks = {} if append is None else {"append_punctuations": append, "prepend_punctuations": ""}
    result = base.transcribe(recordings / name, word_timestamps=True, **marks)
    assert len(result.text) > 15
    for width in (2, 5, 12, 40, None):
        for count in (None, 1, 2):
            for highlight in (False, True):
                layout = {"max_line_width": width, "max_line_count": count, "highlight_words": highlight}
                srt, vtt = read_srt(written(result, "srt", **layout)), read_vtt(written(result, "vtt", **layout))
                assert [cue[:2] for cue in srt] == [cue[:2] for cue in vtt]
                assert all(a.end <= b.start for a, b in pairwise(srt))
                if not highlight:
                    lines = [line for cue in srt for line in cue.text.split("\n")]
                    assert seen("".join(lines)) == seen(result.text)
                    assert not any(line[0] in CLOSING for line in lines)
                    assert result.language != "ja" or all(may_break(a, b) for a, b in pairwise(lines))
