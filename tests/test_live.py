"""Live transcription: final words, agreement with the transcription of the whole recording, bounded memory."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from whisper_apr import LiveTranscriber, load_audio
from whisper_apr.audio import SAMPLE_RATE, resample
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.inference.live import _agreed, _Utterance, _words_after
from whisper_apr.inference.record import changed
from whisper_apr.inference.results import Segment, Word
from whisper_apr.inference.transcribe import Pipeline, TranscriptionJob
from whisper_apr.tokenizer import get_tokenizer

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Return two utterances, each followed by two seconds of faint noise."""
    noise = np.random.default_rng(0).normal(0, 1e-3, 2 * SAMPLE_RATE).astype(np.float32)
    return np.concatenate([load_audio(DATA / "en.wav"), noise, load_audio(DATA / "de.wav"), noise])


def live(model, samples, n_push, **settings):
    """Return the result of every call, with `n_push` samples per call."""
    stream = LiveTranscriber(model, **settings)
    return [*(stream.push(samples[i : i + n_push]) for i in range(0, len(samples), n_push)), stream.finish()]


@pytest.mark.parametrize(("n_push", "step"), [(4_000, 2.5), (30_000, 1)])
def test_final_text_is_that_of_the_whole_recording(model, recording, n_push, step):
    texts = live(model, recording, n_push, step=step)
    en, de = (model.transcribe(DATA / f"{name}.wav").text for name in ("en", "de"))
    assert "".join(text.settled_text for text in texts).split() == f"{en} {de}".split()
    assert texts[-1].tentative == ()
    words = [word for text in texts for word in text.settled]
    assert all(a.start <= b.start for a, b in pairwise(words))
    assert words[-1].end <= len(recording) / SAMPLE_RATE


def test_words_become_final_before_the_utterance_ends(model, recording):
    n_speech = len(load_audio(DATA / "en.wav"))
    stream = LiveTranscriber(model)
    texts = [stream.push(part) for part in np.array_split(recording[:n_speech], 4)]
    assert any(text.tentative for text in texts)
    assert sum(len(text.settled) for text in texts) >= 2


def test_utterances(model, recording):
    """Their words are those of the recordings that they come from, and speech is noticed before it ends."""
    stream = LiveTranscriber(model, step=3)
    n_first = len(load_audio(DATA / "en.wav"))
    assert stream.speaking_since is None
    texts, since = [], set()
    for i in range(0, len(recording), 8_000):
        texts.append(stream.push(recording[i : i + 8_000]))
        since.add(stream.speaking_since)
    texts.append(stream.finish())
    utterances = [utterance for text in texts for utterance in text.ended]
    assert {utterance.start for utterance in utterances} <= since
    assert None in since
    found, words = {}, []
    for text in texts:
        at = 0
        for utterance in text.ended:
            found[utterance] = words + list(text.settled[at : utterance.n_settled])
            words, at = [], utterance.n_settled
        words += text.settled[at:]
    assert words == []
    for name, is_first in (("en", True), ("de", False)):
        expected = model.transcribe(DATA / f"{name}.wav").text.split()
        parts = [found[each] for each in utterances if (each.start < n_first / SAMPLE_RATE) == is_first]
        assert [word.word.strip() for part in parts for word in part] == expected
    for utterance in utterances:
        assert all(utterance.start <= word.start <= word.end <= utterance.end for word in found[utterance])


@pytest.mark.parametrize("settle", ["local-agreement", "final"])
def test_the_words_of_an_utterance_are_those_of_its_audio(model, recording, settle):
    texts = live(model, recording, 8_000, step=1, settle=settle)
    utterances = [utterance for text in texts for utterance in text.ended]
    assert len(utterances) >= 2
    for each in utterances:
        audio = recording[round(each.start * SAMPLE_RATE) : round(each.end * SAMPLE_RATE)]
        alone = model.transcribe(audio, word_timestamps=True, audio_context="auto")
        assert each.text == alone.text
        assert [round(word.start - each.start, 6) for word in each.words] == [
            round(word.start, 6) for segment in alone.segments for word in segment.words
        ]


def test_words_that_settle_at_the_end_of_their_utterance(model, recording):
    texts = live(model, recording, 8_000, step=1, settle="final")
    for text in texts:
        at = 0
        for utterance in text.ended:
            assert text.settled[at : utterance.n_settled] == utterance.words
            at = utterance.n_settled
        assert at == len(text.settled)
    agreed = live(model, recording, 8_000, step=1)
    shown = [text for text, other in zip(texts, agreed, strict=True) if other.settled and not text.ended]
    assert shown
    assert all(text.tentative and not text.settled for text in shown)


def test_the_text_so_far_is_checked_and_not_generated_again(model, recording, batch_sizes, monkeypatch):
    with_draft = live(model, recording, 8_000, step=1)
    n_step = len(batch_sizes)
    batch_sizes.clear()
    add = _Utterance.add

    def add_without_draft(self, *words):
        add(self, *words)
        self.draft = ()

    monkeypatch.setattr(_Utterance, "add", add_without_draft)
    assert live(model, recording, 8_000, step=1) == with_draft
    assert n_step < 0.6 * len(batch_sizes)


def word(text: str) -> Word:
    return Word(text, 0.0, 0.1, 1.0)


@pytest.mark.parametrize(
    ("heard", "guess", "n"),
    [
        ("one two three", "one two", 2),
        ("one two three", "one four three", 1),
        ("One, two three", "one two. Three", 2),  # but for punctuation and case
        ("one two, three", "one two. three", 3),
        ("one two.", "one two", 1),  # except at the end
        ("one two.", "one two.", 2),
        ("one ?", "one !", 1),
        ("", "one", 0),
    ],
)
def test_agreement(heard, guess, n):
    heard, guess = [[word(" " + each) for each in text.split()] for text in (heard, guess)]
    assert _agreed(heard, guess) == heard[:n]


def test_a_guess_that_repeats_itself_is_dropped_at_once(model, recording, prompts):
    """It is neither decoded again nor shown, and settles no word."""
    audio = recording[: 3 * SAMPLE_RATE]
    stream = LiveTranscriber(model, step=1, compression_ratio_threshold=0.0)
    texts = [stream.push(part) for part in np.split(audio, 3)]
    assert all(not text.settled and not text.tentative for text in texts)
    assert len(prompts) == 3
    assert stream.finish().settled
    assert len(prompts) > 4


def test_words_settle_without_agreement_some_time_after_their_end(model, recording, monkeypatch):
    monkeypatch.setattr("whisper_apr.inference.live._agreed", lambda *_: [])
    texts = live(model, recording, 4_000, step=0.5)
    early = [text for text in texts if text.settled and not text.ended]
    assert early
    for i, text in enumerate(texts):
        if text in early:
            assert all((i + 1) / 4 - word.end >= 1.2 for word in text.settled)
    assert "".join(text.settled_text for text in texts).split()[:5] == ["three", "one", "four", "one", "five"]


def test_words_that_are_heard_again_are_not_repeated():
    """If the agreed words are different now, or were not transcribed again."""
    agreed = [word(f" {text}") for text in ["a", "b", "c", "d", "e", "f"]]

    def after(*texts, n_before=6, start=0.2):
        words = [changed(word(f" {text}"), start=start, end=start + 0.1) for text in texts]
        segment = Segment(0, 0, 0.0, 1.0, "", [], 0.0, 0.0, 1.0, 0.0, words)
        return [word.word.strip() for word in _words_after([segment], agreed, n_before, 0.1)]

    assert after("F", "g") == ["g"]
    assert after("e,", "f", "g") == ["g"]
    assert after("b", "c", "d", "e", "f") == []
    assert after("a", "b", "c", "d", "e", "f", "g") == ["a", "b", "c", "d", "e", "f", "g"]  # too many for a chance
    assert after("f", "g", start=0.7) == ["f", "g"]  # said again
    assert after("x", "f", "g", n_before=4) == ["x", "f", "g"]
    assert after("e", "f", "g", n_before=4, start=0.0) == ["g"]
    assert after("x", "f", "g", n_before=4, start=-0.2) == []  # before the agreed words' end


def test_where_the_next_transcription_of_a_long_utterance_begins(model):
    """After punctuation, rather than in a phrase."""
    pipeline = Pipeline(model, lambda: None, {})
    utterance = _Utterance()
    utterance.agreed = [changed(word(f" {text}"), end=float(i)) for i, text in enumerate(["a", "b.", "c,", "d"], 1)]
    utterance.shorten(False, "en", pipeline)
    assert (utterance.heard_from, utterance.n_before) == (3 * SAMPLE_RATE, 3)
    assert utterance.text_before == tuple(get_tokenizer(True).encode(" a b. c,"))
    utterance.shorten(False, "en", pipeline)
    assert utterance.heard_from == 3 * SAMPLE_RATE
    utterance.shorten(True, "en", pipeline)
    assert (utterance.heard_from, utterance.n_before) == (4 * SAMPLE_RATE, 4)


def test_of_a_long_utterance_only_the_end_is_heard_again(model, monkeypatch, prompts):
    """After the agreed words, which are its prompt."""
    job, heard = TranscriptionJob.__init__, []

    def recorded(self, pipeline, channels, **rest):
        heard.append(sum(map(len, channels[0]())) / SAMPLE_RATE)
        job(self, pipeline, channels, **rest)

    monkeypatch.setattr(TranscriptionJob, "__init__", recorded)
    monkeypatch.setattr("whisper_apr.inference.live.HEARD", 2 * SAMPLE_RATE)
    audio = load_audio(DATA / "en_three.flac")
    texts = live(model, audio, 4_000, step=0.5, language="en", vad_options={"min_silence_duration_ms": 20_000})
    (utterance,) = [each for text in texts for each in text.ended]
    assert max(heard[:-1]) < 6 < heard[-1]
    sot_prev = get_tokenizer(True).sot_prev
    assert sot_prev in {prompt[0] for prompt in prompts}
    assert prompts[-1][0] != sot_prev
    assert utterance.text == model.transcribe(audio, audio_context="auto").text
    assert "".join(text.settled_text for text in texts).split() == utterance.text.split()


def test_other_rates_channels_and_dtypes(model):
    samples = load_audio(DATA / "en.wav")
    stereo = np.repeat(resample(samples, SAMPLE_RATE, 44_100)[:, None], 2, axis=1)
    texts = live(model, (stereo * 32_767).astype(np.int16), 44_100, sampling_rate=44_100, step=3)
    assert "".join(text.settled_text for text in texts).split() == model.transcribe(samples).text.split()


def test_audio_without_speech_has_no_text(model):
    noise = np.random.default_rng(1).normal(0, 0.05, 6 * SAMPLE_RATE).astype(np.float32)
    tones = 0.1 * np.sin(np.arange(6 * SAMPLE_RATE) * 0.2).astype(np.float32)
    for sound in (noise, tones, np.zeros_like(noise)):
        assert all(not text.settled and not text.tentative for text in live(model, sound, 16_000))


def test_unbroken_speech(model, monkeypatch):
    """It is cut after its final words, whose samples are then released."""
    monkeypatch.setattr("whisper_apr.inference.live.LONGEST", 6 * SAMPLE_RATE)
    speech = load_audio(DATA / "en.wav")[: 3 * SAMPLE_RATE]
    stream, kept, n_word = LiveTranscriber(model, step=3, temperature=0), [], 0
    for _ in range(8):
        n_word += len(stream.push(speech).settled)
        kept.append(len(stream._kept))
    n_word += len(stream.finish().settled)
    assert max(kept) <= 12 * SAMPLE_RATE
    assert n_word >= 6 * len(model.transcribe(speech).text.split())


def test_invalid_input(model):
    with pytest.raises(OptionError):
        LiveTranscriber(model, step=0)
    stream = LiveTranscriber(model)
    for wrong in (np.full(100, np.nan), np.zeros(100, complex), np.zeros((2, 2, 2))):
        with pytest.raises(AudioError):
            stream.push(wrong)
    assert stream.finish().settled == ()
