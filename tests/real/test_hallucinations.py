"""`hallucination_filter` with base and tiny.en: nothing is invented where nobody speaks, and no speech is lost."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sounds import KINDS, RATE, FloatArray, sound
from word_errors import edits, units

from whisper_apr import AudioWarning, Recognizer, load_audio

GREEDY = {"language": "en", "seed": 0, "hallucination_filter": True}
MINUTES = 10
MAX_LOSS = 0.002  # of the word error rate


@pytest.fixture(params=["base", "tiny.en"])
def engine(request: pytest.FixtureRequest) -> Recognizer:
    found: Recognizer = request.getfixturevalue(request.param.replace(".", "_"))
    return found


def read(path: Path) -> FloatArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        samples: FloatArray = load_audio(path)
    return samples


@pytest.mark.parametrize("seconds", [5, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_invented_in_a_sound(engine: Recognizer, kind: str, seconds: int) -> None:
    assert not engine.transcribe(sound(kind, seconds), **GREEDY).text.strip()


@pytest.mark.parametrize("kind", ["silence", "dither", "tone", "beeps"])
def test_nothing_is_invented_in_two_minutes(engine: Recognizer, kind: str) -> None:
    assert not engine.transcribe(sound(kind, 120), **GREEDY).text.strip()


def test_nothing_is_invented_in_recorded_noise(engine: Recognizer, recordings: Path) -> None:
    """Without the filter, tiny.en writes a hundred words over six minutes of it."""
    noise = read(recordings / "noise5.wav")
    n_dropped = 0
    for samples in (noise, np.tile(noise, 120 * RATE // len(noise))):
        found = engine.transcribe(samples, **GREEDY)
        assert not found.text.strip()
        n_dropped += len(found.dropped or ())
    assert n_dropped


def parts_of(engine: Recognizer, recordings: Path, texts: dict[str, Any]) -> list[tuple[FloatArray, str, list[str]]]:
    """Return samples, language and words of the recordings with texts, in the languages of a model."""
    return [
        (read(recordings / name), entry["language"], units(entry["text"], entry["language"]))
        for name, entry in texts.items()
        if engine.is_multilingual or entry["language"] == "en"
    ]


def test_the_words_of_each_recording_are_kept(
    engine: Recognizer, recordings: Path, texts: dict[str, dict[str, Any]]
) -> None:
    n_word, errors = 0, {False: 0, True: 0}
    for samples, language, words in parts_of(engine, recordings, texts):
        n_word += len(words)
        for is_filtered in errors:
            found = engine.transcribe(samples, language=language, seed=0, hallucination_filter=is_filtered)
            errors[is_filtered] += edits(words, units(found.text, language))
    assert errors[True] - errors[False] <= MAX_LOSS * n_word


@pytest.mark.parametrize("between", ["silence", "noise"])
def test_the_words_of_ten_minutes_are_kept(
    engine: Recognizer, recordings: Path, texts: dict[str, dict[str, Any]], between: str
) -> None:
    """The English recordings in random order, with pauses of up to 12 s, in which nothing is invented."""
    random = np.random.default_rng(0)
    english = [(samples, words) for samples, language, words in parts_of(engine, recordings, texts) if language == "en"]
    noise = read(recordings / "noise5.wav") if between == "noise" else np.zeros(RATE, np.float32)
    pieces, words, n = list[FloatArray](), list[str](), 0
    while n < MINUTES * 60 * RATE:
        for i in random.permutation(len(english)):
            pause = np.resize(noise, round(RATE * random.uniform(0.3, 12)))
            pieces += [english[i][0], pause]
            words += english[i][1]
            n += len(pieces[-1]) + len(pieces[-2])
    samples = np.concatenate(pieces)
    errors = {}
    for is_filtered in (False, True):
        found = engine.transcribe(samples, language="en", seed=0, hallucination_filter=is_filtered)
        errors[is_filtered] = edits(words, units(found.text, "en"))
    print(f"{len(words)} words, {errors} wrong")
    assert errors[True] - errors[False] <= MAX_LOSS * len(words)
