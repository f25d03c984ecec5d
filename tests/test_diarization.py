"""Diarization, with networks that hear tones as voices."""

import tracemalloc
from collections import Counter
from itertools import chain, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr import OptionError, speakers
from whisper_apr.inference import speaker_labels
from whisper_apr.option_values import parse
from whisper_apr.speakers import diarization, weight_files, weights
from whisper_apr.speakers.diarization import LATER_STEP_FRAMES, STEP_FRAMES, Diarizer
from whisper_apr.speakers.segmentation import FRAME_HOP, N_FRAMES, POWERSET, WINDOW
from whisper_apr.speakers.turns import SPEAKERS

RATE = 16000
TONES = {"low": 300, "middle": 1000, "high": 3000}


def tone(name, seconds):
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * TONES[name] * t)).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


def power(samples):
    """Return the power of each tone, `(3,)`."""
    spectrum = np.abs(np.fft.rfft(samples, 2048)) / len(samples)
    return np.array([spectrum[round(hertz * 2048 / RATE)] for hertz in TONES.values()])


def segmentation(windows, overlap):
    """Return log-probabilities of the classes; a window's voices are numbered as they appear."""
    assert np.array_equal(windows[1:, :overlap], windows[:-1, windows.shape[1] - overlap :])
    found = np.full((len(windows), N_FRAMES, len(POWERSET)), -20, np.float32)
    classes = {tuple(row): i for i, row in enumerate(POWERSET.astype(int).tolist())}
    for window, rows in zip(windows, found, strict=True):
        slots: list[int] = []
        for i, row in enumerate(rows):
            speaks = power(window[i * FRAME_HOP : i * FRAME_HOP + 991]) > 0.01
            slots += [voice for voice in np.flatnonzero(speaks) if voice not in slots]
            present = [int(voice < 3 and speaks[voice]) for voice in slots[:3]]
            row[classes[tuple(present + [0] * (3 - len(present)))]] = 0
    return found


def embedding(features):
    """Return a vector that depends on which band is the strongest."""
    vectors = np.zeros((len(features), 192), np.float32)
    vectors[np.arange(len(features)), features.mean(axis=1).argmax(axis=1)] = 1
    return vectors


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """The mean over time is kept, since a tone would be constant."""
    monkeypatch.setattr(diarization, "_centered", lambda features: features)
    monkeypatch.setattr(speakers, "load_diarizer", lambda: Diarizer(segmentation, embedding))


PARTS = [("low", 3), (None, 1), ("high", 4), (None, 2), ("low", 5), ("middle", 2.5), (None, 0.5), ("high", 3)]


def conversation(parts=PARTS):
    return np.concatenate([tone(name, seconds) if name else silence(seconds) for name, seconds in parts])


def expected(parts=PARTS):
    """Return the turns of the parts, by the order of the voices."""
    time, turns, names = 0.0, [], {}
    for name, seconds in parts:
        if name:
            names.setdefault(name, f"SPEAKER_{len(names):02}")
            turns.append((time, time + seconds, names[name]))
        time += seconds
    return turns


def test_speakers_of_a_conversation():
    found = speakers.diarize(conversation())
    assert [turn.speaker for turn in found.turns] == [speaker for *_, speaker in expected()]
    for turn, (start, end, _) in zip(found.turns, expected(), strict=True):
        assert (turn.start, turn.end) == pytest.approx((start, end), abs=0.08)
    assert found.speakers == list(found.embeddings) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert all(np.linalg.norm(vector) == pytest.approx(1) for vector in found.embeddings.values())


def test_two_speak_at_once():
    mixed = conversation()
    mixed[: 2 * RATE] += tone("high", 2)
    found = speakers.diarize(mixed)
    ends = {turn.speaker: turn.end for turn in found.turns[:2]}
    assert sorted(ends.values()) == pytest.approx([2.0, 3.0], abs=0.08)
    assert len(found.speakers) == 3


@pytest.mark.parametrize("size", [1000, 16000, 200_000])
def test_blocks_do_not_matter(size):
    samples = conversation()
    blocks = [samples[i : i + size] for i in range(0, len(samples), size)]
    assert speakers.diarize(iter(blocks)) == speakers.diarize(samples)


def test_numbers_of_speakers():
    def count(**options):
        return len(speakers.diarize(conversation(), **options).speakers)

    assert count() == 3
    assert count(num_speakers=2) == count(max_speakers=2) == 2
    assert count(max_speakers=1) == 1
    assert count(min_speakers=2) == 3
    for options, name in (
        ({"num_speakers": 0}, "num_speakers"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers=3"),
        ({"max_speakers": 51}, "max_speakers"),
    ):
        with pytest.raises(OptionError, match=name):
            speakers.diarize(conversation(), **options)


def test_known_voices():
    voice = speakers.embed_voice(tone("high", 2))
    for known in (voice, tone("high", 2)):
        found = speakers.diarize(conversation(), enroll={"Ann": known})
        assert found.speakers == ["SPEAKER_00", "Ann", "SPEAKER_01"]
    assert "Bob" not in speakers.diarize(conversation(), enroll={"Bob": -voice}).speakers


def test_the_option_of_transcribe(monkeypatch):
    """True, a number of speakers, and known voices."""
    monkeypatch.setattr(speaker_labels, "load_diarizer", lambda: Diarizer(segmentation, embedding))

    def speakers_of(value):
        labeler = speaker_labels.speaker_labeler(lambda: iter([conversation()]), parse("speakers", SPEAKERS, value))
        return [labeler.speaker(start, end) for start, end, _ in expected()]

    assert speakers_of(True) == [speaker for *_, speaker in expected()]
    assert len(set(speakers_of(2))) == 2
    names = {"SPEAKER_00": "SPEAKER_00", "SPEAKER_01": "Ann", "SPEAKER_02": "SPEAKER_01"}
    for voice in (tone("high", 2), speakers.embed_voice(tone("high", 2))):
        assert speakers_of({"Ann": voice}) == [names[speaker] for *_, speaker in expected()]


def test_progress_and_cancelling():
    steps, limit = [], 3

    def check():
        if len(steps) >= limit:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speakers.diarize(conversation(), on_progress=steps.append, check_cancelled=check)
    assert len(steps) < 5
    steps, limit = [], 100
    found = speakers.diarize(conversation(), on_progress=steps.append, check_cancelled=check)
    assert found == speakers.diarize(conversation())
    assert np.diff([0, *steps]) == pytest.approx(5, abs=0.01)
    for option in ("on_progress", "check_cancelled"):
        with pytest.raises(OptionError, match=option):
            speakers.diarize(conversation(), **{option: 5})


def test_cancelling_a_transcription_ends_the_diarization(monkeypatch):
    monkeypatch.setattr(speaker_labels, "load_diarizer", lambda: Diarizer(segmentation, embedding))

    def check():
        raise KeyboardInterrupt

    for value in (True, {"Ann": tone("high", 2)}):
        with pytest.raises(KeyboardInterrupt):
            speaker_labels.speaker_labeler(lambda: iter([conversation()]), value, check)


def test_a_voice_needs_half_a_second_and_uses_a_minute():
    with pytest.raises(OptionError, match=r"'Ann': a voice needs 0.5 s of speech, but the recording has 0.40 s"):
        speakers.known_voices({"Ann": tone("high", 0.4)})
    with pytest.raises(OptionError, match="'Ann'"):
        speakers.known_voices({"Ann": b"no sound"})
    minute = [tone("high", 20)] * 3
    endless = chain(minute, repeat(tone("low", 20)))
    assert np.array_equal(speakers.embed_voice(endless), speakers.embed_voice(np.concatenate(minute)))


def test_recordings_without_a_voice():
    for samples in (silence(0), silence(0.1), silence(25), np.full(RATE, 0.5, np.float32)):
        found = speakers.diarize(samples)
        assert found.turns == ()
        assert found.embeddings == {}


def test_a_short_voice_is_a_speaker():
    (turn,) = speakers.diarize(np.concatenate([silence(1), tone("low", 0.2), silence(1)])).turns
    assert (turn.start, turn.end) == pytest.approx((1.0, 1.2), abs=0.08)


def test_a_speaker_may_have_no_frame():
    """Where others are more active."""
    blocks = [np.array([[0, 1], [0, 1]], bool), np.array([[0, 1], [0, 0]], bool)]
    first, second = diarization._spans(iter(blocks), 2)
    assert first == []
    assert np.diff(second) == pytest.approx(3 * FRAME_HOP / RATE)


def test_the_most_active_speak():
    activity = np.array([[0.9, 0.8, 0.0], [0.5, 0.2, 0.1], [0.2, 0.3, 0.2], [0.0, 0.1, 0.1]], np.float32)
    found = diarization._most_active(activity)
    assert found.tolist() == [[True, True, False], [True, False, False], [False, True, False], [False, False, False]]


def test_memory_does_not_grow_with_the_recording(monkeypatch):
    """A quarter of an hour has 58 MB of samples."""
    quiet = np.full((N_FRAMES, len(POWERSET)), -20, np.float32)
    quiet[:, 0], quiet[100:200, 0], quiet[100:200, 1] = 0, -20, 0  # a second of one voice
    monkeypatch.setattr(diarization, "fbank", lambda samples, n: np.zeros((998, n), np.float32))
    diarizer = Diarizer(lambda windows, overlap: np.stack([quiet] * len(windows)), embedding)
    tracemalloc.start()
    try:
        assert len(diarizer(repeat(silence(10), 90)).speakers) == 1
        assert tracemalloc.get_traced_memory()[1] < 35e6
    finally:
        tracemalloc.stop()


def test_later_windows_have_longer_steps_and_shorter_embeddings():
    frames, progress = Counter(), []

    def count(features):
        frames[features.shape[1]] += len(features)
        return embedding(features)

    diarizer = Diarizer(segmentation, count)
    assert len(diarizer([tone("low", 15 * 4.995 + 4 * 7.4925 + 10)], on_progress=progress.append).speakers) == 1
    assert frames == {400: 16, 200: 4}
    assert np.diff(progress) == pytest.approx([4.995] * 14 + [7.4925] * 5)


@pytest.mark.parametrize("last", [2.4, 2.6, 7.4, 7.6])
def test_no_sample_is_lost_where_the_steps_change(last):
    """Of recordings that end before and after the beginning of a window."""
    parts = [("low", 40), (None, 1), ("high", 40), (None, 1), ("middle", 15), (None, 0.5), ("low", last)]
    samples = conversation(parts)
    found = speakers.diarize(samples)
    assert [turn.speaker for turn in found.turns] == [speaker for *_, speaker in expected(parts)]
    for turn, (start, end, _) in zip(found.turns, expected(parts), strict=True):
        assert (turn.start, turn.end) == pytest.approx((start, end), abs=0.08)
    blocks = [samples[i : i + 30_000] for i in range(0, len(samples), 30_000)]
    assert speakers.diarize(iter(blocks)) == found


@given(st.integers(0, 400_000), st.lists(st.integers(1, 300_000), max_size=20))
def test_windows_cover_a_recording_in_blocks_of_any_size(n, sizes):
    """Each window begins a step after the one before, only the last is padded, and none is superfluous."""
    n += (diarization.EARLY_WINDOWS - 2) * STEP_FRAMES * FRAME_HOP
    samples = np.arange(1, n + 1, dtype=np.float32)
    found = list(diarization._windows(np.split(samples, np.cumsum(sizes)[np.cumsum(sizes) < n])))
    begin = 0
    for i, window in enumerate(found):
        part = samples[begin : begin + WINDOW]
        assert np.array_equal(window, np.pad(part, (0, WINDOW - len(part))))
        assert (len(part) < WINDOW or begin + WINDOW == n) <= (i == len(found) - 1)
        begin += (STEP_FRAMES if i < diarization.EARLY_WINDOWS - 1 else LATER_STEP_FRAMES) * FRAME_HOP
    assert part[-1] == samples[-1]


def test_many_voices_are_clustered_in_parts(monkeypatch):
    samples = np.concatenate([conversation()] * 4)
    whole = speakers.diarize(samples)
    monkeypatch.setattr(diarization, "MAX_CLUSTERED", 5)
    assert speakers.diarize(samples) == whole


def test_the_weights_are_a_package_of_their_own(monkeypatch):
    monkeypatch.setattr(weight_files, "FOLDER", "whisper_apr_no_such_package")
    with pytest.raises(OptionError, match="pip install whisper-apr"):
        weights.load_diarizer.__wrapped__()
