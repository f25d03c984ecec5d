"""`word_timing="openai"` compared with openai-whisper's `transcribe(word_timestamps=True)`: all times are equal."""

from typing import Any

import pytest

from openai_engine import share_alignment_heads
from recordings import RECORDINGS, join, silence, speech

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Word-level timestamps on translations:UserWarning"),
]

LONG = {
    "pauses": lambda: join(
        silence(3), speech("en_three"), silence(9), speech("es"), silence(25), speech("fr"), silence(6)
    ),
    "en_late, de": lambda: join(speech("en_late"), silence(2), speech("de"), silence(12), speech("en")),
}
NAMES = ("en", "de", "es", "fr", "en_three", "en_long", "de_then_fr", "four_90_s", "en_quiet", "es_under_noise", *LONG)


@pytest.fixture(scope="module")
def pair(digits: Any) -> Any:
    """The digits model, with the same alignment heads in both engines."""
    share_alignment_heads(digits)
    return digits


def check(pair: Any, samples: Any, **options: Any) -> None:
    options = {"temperature": 0.0, "word_timestamps": True} | options
    theirs = pair.theirs.transcribe(samples, fp16=False, **options)
    ours = pair.ours.transcribe(samples, word_timing="openai", **options)
    assert [s.tokens for s in ours.segments] == [s["tokens"] for s in theirs["segments"]]
    for a, b in zip(ours.segments, theirs["segments"], strict=True):
        assert (a.seek, a.start, a.end, a.text) == (b["seek"], b["start"], b["end"], b["text"])
        assert [(w.word, w.start, w.end) for w in a.words] == [(w["word"], w["start"], w["end"]) for w in b["words"]]
        assert [w.probability for w in a.words] == pytest.approx([w["probability"] for w in b["words"]], abs=1e-3)
    assert ours.text == theirs["text"]


@pytest.mark.parametrize("name", NAMES)
def test_words(pair: Any, name: str) -> None:
    check(pair, (LONG | RECORDINGS)[name]())


@pytest.mark.parametrize(
    "options",
    [
        {"hallucination_silence_threshold": 0.0},
        {"hallucination_silence_threshold": 2.0},
        {"condition_on_previous_text": False, "no_speech_threshold": None},
        {"without_timestamps": True},
        {"without_timestamps": True, "hallucination_silence_threshold": 1.0},
        {"sample_len": 9},
        {"clip_timestamps": "1.5,7.25,31,44.5"},
        {"prepend_punctuations": "", "append_punctuations": ""},
        {"task": "translate"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["pauses", "four_90_s"])
def test_options(pair: Any, name: str, options: dict[str, Any]) -> None:
    check(pair, (LONG | RECORDINGS)[name](), **options)
