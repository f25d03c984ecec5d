"""Voice activity detection: spans, streams that equal the whole, and mapping of times."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_apr.audio import SAMPLE_RATE, load_audio
from whisper_apr.audio.silero import FRAME, SpeechProbabilities
from whisper_apr.audio.vad import (
    Span,
    SpeechDetector,
    SpeechFilter,
    SpeechMap,
    VadOptions,
    join_spans,
    speech_timestamps,
)
from whisper_apr.errors import OptionError

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Return speech, five seconds of faint noise, speech, a short pause, speech, and three seconds of silence."""
    noise = np.random.default_rng(0).normal(0, 1e-3, 5 * SAMPLE_RATE).astype(np.float32)
    en, de, fr = (load_audio(DATA / f"{name}.wav") for name in ("en", "de", "fr"))
    return np.concatenate([en, noise, de, np.zeros(8000, np.float32), fr, np.zeros(3 * SAMPLE_RATE, np.float32)])


def probabilities(samples, cuts=()):
    stream = SpeechProbabilities()
    return np.concatenate([*(stream.push(part) for part in np.split(samples, cuts)), stream.finish()])


def test_backends_agree(recording, backend):
    got = probabilities(recording[: 3 * SAMPLE_RATE])
    assert got.shape == (-(-3 * SAMPLE_RATE // FRAME),)
    assert got.max() > 0.95
    from whisper_apr import simd

    with simd.use_backend("numpy"):
        np.testing.assert_allclose(got, probabilities(recording[: 3 * SAMPLE_RATE]), atol=2e-4)


def test_speech_is_found(recording):
    spans = speech_timestamps(recording)
    n_en = len(load_audio(DATA / "en.wav"))
    assert len(spans) == 2
    assert spans[0].end < n_en + SAMPLE_RATE
    assert n_en + 4 * SAMPLE_RATE < spans[1].start < n_en + 6 * SAMPLE_RATE
    assert spans[1].end < len(recording) - 2 * SAMPLE_RATE


def sounds_without_speech():
    n, rng = 8 * SAMPLE_RATE, np.random.default_rng(1)
    t = np.arange(n) / SAMPLE_RATE
    chords = np.repeat([261.6, 329.6, 392.0, 440.0], 2 * SAMPLE_RATE)
    music = sum(np.sin(2 * np.pi * chords * k * t) / k for k in (1, 2, 3)) * 0.1
    return {"silence": np.zeros(n), "noise": rng.normal(0, 0.1, n), "faint": rng.normal(0, 1e-3, n), "tones": music}


@pytest.mark.parametrize("kind", ["silence", "noise", "faint", "tones"])
def test_no_speech_in_other_sounds(kind):
    assert speech_timestamps(sounds_without_speech()[kind].astype(np.float32)) == []


OPTIONS = (
    VadOptions(),
    VadOptions(min_silence_duration_ms=160, speech_pad_ms=30),
    VadOptions(max_speech_duration_s=2, speech_pad_ms=100),
    VadOptions(min_speech_duration_ms=300, min_silence_duration_ms=100, speech_pad_ms=0, threshold=0.7),
)


@pytest.mark.parametrize("options", OPTIONS)
def test_spans_do_not_depend_on_blocks(recording, options):
    whole = speech_timestamps(recording, options)
    assert whole
    assert all(a.end <= b.start for a, b in pairwise(whole))
    assert all(0 <= a < b <= len(recording) for a, b in whole)
    joined = join_spans(recording, whole)
    rng = np.random.default_rng(2)
    for most in (700, 30_000):
        cuts = np.cumsum(rng.integers(0, most, len(recording) // most))
        detector, passed = SpeechDetector(options), SpeechFilter(options)
        blocks = np.split(recording, cuts[cuts < len(recording)])
        assert [*(s for block in blocks for s in detector.push(block)), *detector.finish()] == whole
        out = np.concatenate([*(passed.push(block) for block in blocks), passed.finish()])
        np.testing.assert_array_equal(out, joined)
        for t in np.linspace(0, len(joined) / SAMPLE_RATE, 50):
            assert passed.map.original(t) == pytest.approx(SpeechMap(whole).original(t), abs=1e-9)


def test_options(recording):
    rough, fine = speech_timestamps(recording), speech_timestamps(recording, OPTIONS[1])
    assert len(fine) > len(rough)
    longest = max(end - start for start, end in speech_timestamps(recording, VadOptions(max_speech_duration_s=2)))
    assert longest <= 2 * SAMPLE_RATE
    assert sum(b - a for a, b in speech_timestamps(recording, VadOptions(speech_pad_ms=0))) < sum(
        b - a for a, b in rough
    )


def test_memory_is_constant(recording):
    """In silence as well as in endless speech."""
    for block in (np.zeros(SAMPLE_RATE, np.float32), load_audio(DATA / "en.wav")[: 3 * SAMPLE_RATE]):
        stream = SpeechFilter()
        kept = []
        for _ in range(20):
            stream.push(block)
            kept.append(len(stream._kept))
        assert max(kept[5:]) <= 4 * SAMPLE_RATE


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=20), st.data())
def test_times_map_back_exactly(lengths, data):
    bounds = np.cumsum(lengths).tolist()
    spans = [Span(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=False)]
    back = SpeechMap(spans)
    index = data.draw(st.integers(0, len(spans) - 1))
    before = sum(b - a for a, b in spans[:index])
    sample = data.draw(st.integers(*spans[index]))
    seconds = (before + sample - spans[index].start) / SAMPLE_RATE
    if sample < spans[index].end:
        assert round(back.original(seconds) * SAMPLE_RATE, 6) == sample
    if sample > spans[index].start:
        assert round(back.original(seconds, is_end=True) * SAMPLE_RATE, 6) == sample


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), max_size=300), st.sampled_from(OPTIONS))
def test_spans_for_any_probabilities_are_in_order(values, options):
    detector = SpeechDetector(options)
    detector.n_samples = FRAME * len(values)
    spans = [*detector._add_frames(np.array(values, np.float32)), *detector.finish()]
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(0 <= a <= b <= detector.n_samples for a, b in spans)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"threshold": 1.5},
        {"neg_threshold": -1},
        {"speech_pad_ms": -1},
        {"max_speech_duration_s": 0.5},
    ],
)
def test_invalid_options(wrong):
    with pytest.raises(OptionError):
        VadOptions(**wrong)


def test_empty_recording():
    assert speech_timestamps(np.zeros(0)) == []
    assert SpeechMap().original(1.5) == 1.5
