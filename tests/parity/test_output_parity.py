"""txt, srt, vtt, tsv and json are byte for byte openai-whisper's, in every layout, for ordinary text.

Ordinary text is visible, has no markup and no line breaks, and its times increase; tests/test_output.py tests the rest.
"""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.utils import get_writer

import whisper_apr.utils
from whisper_apr.inference.results import Segment, Transcription, Word
from whisper_apr.output import LineOptions, write
from whisper_apr.output.writers import OPENAI_FORMATS

pytestmark = pytest.mark.parity

LETTERS = st.sampled_from("ab cé字\t,\"'-.\u0627\u05d0\U0001f600{}()[]*#+=")
TEXT = st.text(LETTERS, min_size=1, max_size=12).filter(str.strip)
DURATION = st.integers(1, 5000)  # milliseconds
PAUSE = st.integers(0, 4000) | st.just(0) | st.integers(0, 10**7)


@st.composite
def results(draw, with_words):
    segments, time = [], 0
    for spoken in draw(st.lists(st.lists(st.tuples(TEXT, DURATION, PAUSE), min_size=1, max_size=6), max_size=5)):
        words = []
        for text, duration, pause in spoken:
            time += pause
            words.append(Word(f" {text}", time / 1000, (time + duration) / 1000, draw(st.floats(0, 1))))
            time += duration
        segments.append(
            Segment(
                id=0,
                seek=0,
                start=words[0].start,
                end=words[-1].end,
                text="".join(word.word for word in words),
                tokens=(1, 2),
                temperature=0.0,
                avg_logprob=-0.5,
                compression_ratio=1.25,
                no_speech_prob=1e-7,
                words=tuple(words) if with_words else None,
            )
        )
    return Transcription("".join(segment.text for segment in segments), tuple(segments), "en")


LAYOUT = st.fixed_dictionaries(
    {
        "max_line_width": st.none() | st.integers(1, 30),
        "max_line_count": st.none() | st.integers(1, 3),
        "max_words_per_line": st.none() | st.integers(1, 4),
        "highlight_words": st.booleans(),
    }
)


def check(result, layout):
    for name in OPENAI_FORMATS:
        ours, theirs = io.StringIO(), io.StringIO()
        write(result, name, ours, LineOptions(**layout))
        get_writer(name, "").write_result(result.to_dict(), theirs, layout)
        assert ours.getvalue() == theirs.getvalue(), name


def test_files(tmp_path):
    """Both packages' `get_writer` write the same files."""
    result = Transcription(" one two", (Segment(0, 0, 0.0, 1.5, " öne two", (1, 2), 0.0, -0.5, 1.25, 1e-7),), "en")
    for folder, writer in (("ours", whisper_apr.utils.get_writer), ("theirs", get_writer)):
        (tmp_path / folder).mkdir()
        writer("all", str(tmp_path / folder))(result.to_dict(), "some/where/x.y.wav", {})
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert (
        names
        == sorted(path.name for path in (tmp_path / "ours").iterdir())
        == [f"x.y.{e}" for e in sorted(OPENAI_FORMATS)]
    )
    for name in names:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


@settings(max_examples=150)
@given(results(with_words=False))
def test_segments(result):
    check(result, {})


@settings(max_examples=400)
@given(results(with_words=True), LAYOUT)
def test_words(result, layout):
    check(result, layout)
