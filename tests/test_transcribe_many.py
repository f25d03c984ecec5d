"""Several recordings in one batch: each result is the same as that of the recording alone."""

import gc
import io
import weakref
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import whisper_apr
from recordings import noise, silence, speech
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.inference.results import Progress

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def audios():
    """Return recordings of 0.3 to 34 s, in four languages, some without speech."""
    return [
        str(DATA / "en.wav"),
        speech("en_three"),
        silence(31),
        (DATA / "de.wav").read_bytes(),
        np.concatenate([speech("es"), silence(23), speech("es"), speech("fr")]),
        noise(2, 0.2),
        DATA / "fr.wav",
        speech("en")[:5000],
    ]


@pytest.mark.usefixtures("encoded_anew")
def test_each_result_equals_the_single_one(model, audios):
    """With temperature fallback and prompts from previous text; each is encoded again, alone and in a batch."""
    options = {"seed": 3, "word_timestamps": True, "sample_len": 40}
    alone = [model.transcribe(audio, **options) for audio in audios]
    for size in (1, 3):
        assert list(model.transcribe_many(audios, batch_size=size, **options)) == alone, size
    assert {result.language for result in alone} >= {"en", "de", "es", "fr"}
    assert max(segment.seek for segment in alone[4].segments) > 0  # more than one window


@pytest.mark.parametrize(
    "options", [{"beam_size": 3}, {"vad_filter": True}, {"language": "de", "task": "translate"}, {"multilingual": True}]
)
def test_results_with_other_options(model, audios, options):
    options |= {"temperature": 0.0, "sample_len": 40}
    alone = [model.transcribe(audio, **options) for audio in audios]
    assert list(model.transcribe_many(audios, batch_size=4, **options)) == alone


def test_independent_windows_equal_a_batch_size(model, audios):
    options = {"temperature": 0.0, "vad_filter": True, "sample_len": 40}
    alone = [model.transcribe(audio, batch_size=2, **options) for audio in audios]
    for size in (3,):
        assert list(model.transcribe_many(audios, batch_size=size, independent_windows=True, **options)) == alone


@pytest.mark.parametrize("independent_windows", [False, True])
def test_the_batch_stays_full(model, batch_sizes, independent_windows):
    """When a window ends, the next takes its place, of the same recording or of another."""
    audios = [speech("en"), np.concatenate([speech("en"), silence(30)]), speech("en_three")] * 3
    list(model.transcribe_many(audios, batch_size=3, temperature=0.0, independent_windows=independent_windows))
    left = batch_sizes.index(2)
    assert batch_sizes[:left] == [3] * left
    assert left > len(batch_sizes) - left


def test_a_window_that_falls_back_does_not_keep_the_others(model, batch_sizes, prompts):
    """Windows of other recordings join the batch while it is decoded again."""
    options = {"temperature": (0.0, 0.2, 0.4), "logprob_threshold": 0.0, "no_speech_threshold": None, "seed": 1}
    audios = [speech("en"), speech("en_three")] * 3
    results = list(model.transcribe_many(audios, batch_size=2, **options))
    assert len(prompts) == 3 * 6
    assert batch_sizes.index(1) > 0.7 * len(batch_sizes)
    assert results == [model.transcribe(audio, **options) for audio in audios]


def test_an_unreadable_recording_does_not_affect_the_others(model, audios):
    good = [audios[0], audios[3], audios[6]]
    expected = [model.transcribe(audio, temperature=0.0) for audio in good]
    sources = [good[0], "gone.wav", b"not a recording", good[1], np.zeros(0, np.float32), good[2], "gone too.wav"]
    for independent_windows in (False, True):
        options = {"temperature": 0.0, "batch_size": 2, "independent_windows": independent_windows}
        found = list(model.transcribe_many(sources, return_errors=True, **options))
        assert [r for r in found if not isinstance(r, AudioError)] == expected
        assert [i for i, r in enumerate(found) if isinstance(r, AudioError)] == [1, 2, 4, 6]
        assert "gone.wav" in str(found[1])
    results = model.transcribe_many(sources, temperature=0.0)
    assert next(results) == expected[0]
    with pytest.raises(AudioError, match=r"gone\.wav"):
        next(results)


@pytest.mark.parametrize("independent_windows", [False, True])
def test_a_recording_that_shrinks_while_it_is_read(model, independent_windows):
    """A long recording is read twice."""

    class Shrinking(io.BytesIO):
        times = 0

        def seek(self, position, whence=0):
            if position == 0 and whence == 0:
                self.times += 1
            if self.times > 5:
                self.truncate(2_000_000)
            return super().seek(position, whence)

    import soundfile

    file = Shrinking()
    soundfile.write(file, np.tile(speech("en_three"), 24), 16000, format="AU", subtype="PCM_16")
    file.seek(0)
    file.times = 0
    good = speech("en")
    options = {"temperature": 0.0, "language": "en", "batch_size": 2, "independent_windows": independent_windows}
    found = list(model.transcribe_many([good, file, good], return_errors=True, **options))
    assert "shorter" in str(found[1])
    assert found[0] == found[2] == model.transcribe(good, temperature=0.0, language="en")


def test_segments_and_progress_come_in_order(model, audios):
    segments, progress = [], []
    results = list(
        model.transcribe_many(
            audios,
            batch_size=3,
            temperature=0.0,
            on_segment=lambda i, segment: segments.append((i, segment)),
            on_progress=lambda i, p: progress.append((i, p)),
        )
    )
    assert segments == [(i, segment) for i, result in enumerate(results) for segment in result.segments]
    assert [(i, p.done) for i, p in progress] == sorted((i, p.done) for i, p in progress)
    last = dict(progress)
    assert list(last) == list(range(len(audios)))
    assert all(p == Progress(p.total, p.total) for p in last.values())
    assert last[1].total == len(audios[1]) / 16000


def test_few_recordings_are_open(model):
    """Recordings are opened when there is room, and released at their end even if an earlier one continues."""
    files = []

    class Sound(io.BytesIO):
        pass

    def sources():
        for samples in chain([np.tile(speech("en_three"), 4)], [speech("en")] * 12):
            gc.collect()
            alive.append(sum(ref() is not None for ref in files))
            file = Sound()
            soundfile.write(file, samples, 16000, format="WAV")
            file.seek(0)
            files.append(weakref.ref(file))
            yield file
            del file

    import soundfile

    alive: list[int] = []
    results = list(model.transcribe_many(sources(), batch_size=3, temperature=0.0, language="en"))
    assert len(results) == 13
    assert max(alive) <= 3


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("n", [0, 3, 12])
def test_cancelling_ends_all_and_leaves_the_model_usable(model, audios, n):
    calls = Counter[str]()

    def check_cancelled():
        calls["check_cancelled"] += 1
        if calls["check_cancelled"] > n:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(model.transcribe_many(audios, check_cancelled=check_cancelled, return_errors=True))
    assert calls["check_cancelled"] == n + 1
    assert model.transcribe(speech("en"), temperature=0.0).text.split() == ["three", "one", "four", "one", "five"]


def test_no_recordings_and_invalid_options(model):
    assert list(model.transcribe_many([])) == []
    for wrong in ({"batch_size": 0}, {"nonsense": 1}, {"language": "klingon"}, {"clip_timestamps": "a"}):
        with pytest.raises(OptionError):
            list(whisper_apr.transcribe_many(model, [speech("en")], **wrong))
    with pytest.raises(OptionError):
        model.transcribe_many([], nonsense=1)  # at once, not when the first result is asked for
