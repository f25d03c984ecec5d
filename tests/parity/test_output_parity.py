"""txt, srt, vtt, tsv and json have openai-whisper's bytes, whatever the text, the times and the layout."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.utils import get_writer

from whisper_apr.inference.results import Segment, Transcription, Word
from whisper_apr.output import LineOptions, write_files

pytestmark = pytest.mark.parity

TEXT = st.text(st.sampled_from("ab cé字\t,\"'-.\U0001f600"), max_size=12)
SECONDS = st.floats(0, 9000, allow_nan=False).map(lambda t: round(t, 3))
WORD = st.builds(Word, TEXT.map(lambda t: " " + t), SECONDS, SECONDS, st.floats(0, 1))


def segments(words):
    return st.builds(
        Segment,
        id=st.just(0),
        seek=st.just(0),
        start=SECONDS,
        end=SECONDS,
        text=TEXT,
        tokens=st.just((1, 2)),
        temperature=st.just(0.0),
        avg_logprob=st.just(-0.5),
        compression_ratio=st.just(1.25),
        no_speech_prob=st.just(1e-7),
        words=words,
    )


def results(words):
    return st.builds(Transcription, TEXT, st.lists(segments(words), max_size=5).map(tuple), st.just("en"))


LAYOUT = st.fixed_dictionaries(
    {
        "max_line_width": st.none() | st.integers(1, 30),
        "max_line_count": st.none() | st.integers(1, 3),
        "max_words_per_line": st.none() | st.integers(1, 4),
        "highlight_words": st.booleans(),
    }
)


def check(result, layout):
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        write_files(result, "all", ours, "x", LineOptions(**layout))
        get_writer("all", theirs)(result.to_dict(), "x.wav", layout)
        names = sorted(path.name for path in Path(theirs).iterdir())
        assert names == sorted(path.name for path in Path(ours).iterdir())
        for name in names:
            assert Path(ours, name).read_bytes() == Path(theirs, name).read_bytes(), name


@settings(max_examples=150)
@given(results(st.none()))
def test_segments(result):
    check(result, {})


@settings(max_examples=400)
@given(results(st.lists(WORD, max_size=6).map(tuple)), LAYOUT)
def test_words(result, layout):
    check(result, layout)
