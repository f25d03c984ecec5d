"""Windows that are decoded together, and join and leave at any token: each has the result that it has alone."""

import numpy as np
import pytest

from recordings import speech
from whisper_apr import DecodingOptions, log_mel_spectrogram, pad_or_trim
from whisper_apr.audio import ReadingOptions
from whisper_apr.inference import generation
from whisper_apr.inference.decode import DecodingTask, Request
from whisper_apr.inference.generation import ContinuousBatch
from whisper_apr.inference.transcribe import Pipeline, TranscriptionJob
from whisper_apr.model.decoder import TextDecoder

OPTIONS = (
    DecodingOptions(),
    DecodingOptions(beam_size=3),
    DecodingOptions(temperature=0.8, best_of=2, seed=1),
    DecodingOptions(without_timestamps=True, sample_len=5),
    DecodingOptions(temperature=0.4, seed=2, prompt="one two"),
)


@pytest.fixture(scope="module")
def windows(model):
    """The features of windows, the last one encoded in part."""
    names = ("en", "de", "en_three", "fr", "es")
    mels = np.stack([log_mel_spectrogram(pad_or_trim(speech(name))) for name in names])
    features = list(model.embed_audio(mels))
    features[-1] = model.encoder(mels[-1:, :, :1000])[0]
    return features


def decoding(batch, model, features, options):
    """Decode a window with the options."""
    task = DecodingTask(model, options)
    with batch.slot(features) as slot:
        return (yield from task.decoding(slot, features, Request(task.prompt, "en")))


def values(result):
    return {name: value for name, value in vars(result).items() if name != "audio_features"}


@pytest.mark.parametrize("size", [2, 3])
def test_windows_that_join_at_any_token_have_their_own_results(model, windows, size):
    batch, found, numbers = ContinuousBatch(model.decoder, size, 3), {}, []
    jobs = [(features, options) for features in windows for options in OPTIONS]
    waiting, n_step = list(jobs), 0
    while len(found) < len(jobs):
        if len(batch) < size and waiting and n_step % 3 == 0:  # sometimes there is room for more
            numbers += batch.add([decoding(batch, model, *waiting.pop(0))])
        found |= dict(batch.step())
        n_step += 1
    for number, (features, options) in zip(numbers, jobs, strict=True):
        (alone,) = DecodingTask(model, options).run_features(
            features[None], requests=[Request(DecodingTask(model, options).prompt, "en")]
        )
        assert values(found[number]) == values(alone)


def test_a_fallback_reads_neither_the_audio_nor_the_prompt_again(model, monkeypatch):
    """Also if it has another number of candidates."""
    calls = []

    def counted(name):
        original = getattr(TextDecoder, name)

        def call(self, *arguments):
            calls.append(name)
            return original(self, *arguments)

        return call

    for name in ("fill_slot", "read"):
        monkeypatch.setattr(TextDecoder, name, counted(name))
    audio = np.concatenate([speech("en"), np.zeros(30 * 16000, np.float32), speech("en")])
    common = {"logprob_threshold": 0.0, "no_speech_threshold": None, "seed": 1, "best_of": 2, "language": "en"}
    result = model.transcribe(audio, temperature=(0.0, 0.5, 1.0), **common)
    assert {segment.temperature for segment in result.segments} == {1.0}
    n_window = len({segment.seek for segment in result.segments})
    assert sorted(calls) == ["fill_slot"] * n_window + ["read"] * n_window
    assert result == model.transcribe(audio, temperature=1.0, **common)


def test_a_cancelled_window_leaves_its_place_to_another(model, windows):
    batch = ContinuousBatch(model.decoder, 2, 1)
    first, second = batch.add([decoding(batch, model, each, OPTIONS[0]) for each in windows[:2]])
    batch.step()
    batch.cancel(first)
    assert len(batch) == 1
    (third,) = batch.add([decoding(batch, model, windows[2], OPTIONS[0])])
    found = {}
    while len(batch):
        found |= dict(batch.step())
    assert found.keys() == {second, third}
    (alone,) = batch.run([decoding(batch, model, windows[2], OPTIONS[0])])
    assert values(found[third]) == values(alone)


@pytest.mark.parametrize("options", [DecodingOptions(), DecodingOptions(beam_size=2), DecodingOptions(sample_len=9)])
def test_a_draft_changes_nothing_but_the_number_of_steps(model, windows, batch_sizes, options):
    """Whether all of it is right, its beginning, or nothing."""
    task = DecodingTask(model, options)
    for features in windows:
        (expected,) = task.run_features(features[None], requests=[Request(language="en")])
        n_step, right = len(batch_sizes), tuple(expected.tokens)
        for draft, least in (
            (right, len(right)),
            ((*right, 50, 60), len(right)),
            ((*right[:4], 50, *right[5:]), 4),
            (right[1:], 0),
            (tuple(range(100, 600)), 0),
        ):
            batch_sizes.clear()
            (result,) = task.run_features(features[None], requests=[Request(language="en", draft=draft)])
            assert values(result) == values(expected)
            saved = n_step - len(batch_sizes)
            assert saved == 0 if options.beam_size else saved >= min(least, n_step - 1)
        batch_sizes.clear()


# Without an end of text. The last option stops the loop where it would be the same for the 15th token.
LOOPS = [{}, {"without_timestamps": True}, {"temperature": 0.1, "seed": 3}, {"no_repeat_ngram_size": 15}]


@pytest.mark.parametrize("options", LOOPS, ids=str)
def test_a_loop_takes_fewer_steps_and_has_the_same_tokens(model, windows, batch_sizes, monkeypatch, options):
    tokenizer = DecodingTask(model, DecodingOptions()).tokenizer
    kept = set(tokenizer.encode(" one two three four five six seven eight nine"))
    suppressed = tuple(token for token in range(tokenizer.timestamp_begin) if token not in kept)
    task = DecodingTask(model, DecodingOptions(suppress_tokens=suppressed, **options))
    n_step = []
    for draft in (0, generation.LOOP_DRAFT):
        monkeypatch.setattr(generation, "LOOP_DRAFT", draft)
        batch_sizes.clear()
        found = [task.run_features(each[None], requests=[Request(language="en")])[0] for each in windows]
        n_step.append(len(batch_sizes))
        if not draft:
            expected = found
    assert [values(each) for each in found] == [values(each) for each in expected]
    assert n_step[1] < n_step[0] * (0.95 if "no_repeat_ngram_size" in options else 0.5), n_step


def test_a_fallback_after_a_draft(model):
    """It continues from the prompt that was read with the draft."""
    common = {"logprob_threshold": 0.0, "no_speech_threshold": None, "seed": 1, "language": "en"}
    expected = model.transcribe(speech("en"), temperature=(0.0, 0.5), **common)
    pipeline = Pipeline(model, lambda: None, {"temperature": (0.0, 0.5), **common})
    (sequence,) = TranscriptionJob.open(pipeline, speech("en"), ReadingOptions()).sequences()
    sequence.draft = tuple(model.transcribe(speech("en"), temperature=0.0, language="en").segments[0].tokens)
    assert sequence.draft
    found = [segment for _, segments in pipeline.decode(iter([sequence]), 1) for segment in segments]
    assert [segment.tokens for segment in found] == [segment.tokens for segment in expected.segments]
    assert found[0].temperature == 0.5


def test_fewer_tokens_than_sample_len(model, windows):
    task = DecodingTask(model, DecodingOptions(sample_len=8))
    for most, n in ((5, 5), (100, 8)):
        (result,) = task.run_features(windows[2][None], requests=[Request(language="en", max_tokens=most)])
        assert len(result.tokens) == n
        assert result.is_cut


def test_the_audio_of_a_finished_window_is_still_in_its_slot(model, windows, monkeypatch):
    """Words are aligned with it. Another window may have taken the slot, even with the same number of positions."""
    stored, store = [], TextDecoder._store_audio
    monkeypatch.setattr(TextDecoder, "_store_audio", lambda *args: (stored.append(1), store(*args)))
    batch = ContinuousBatch(model.decoder, 2, 3)
    for features in windows[2:]:
        batch.run([decoding(batch, model, features, OPTIONS[1])])
    tokens, heads = np.array([50257, 50362, 11, 12, 50256]), np.array([[0, 1], [1, 0]])
    for features, n_stored in ((windows[4], 0), (windows[3], 1), (windows[4].copy(), 1)):
        stored.clear()
        found = model.decoder.cross_attention_scores(tokens, batch.audio_cache(features), heads)
        assert len(stored) == n_stored
        expected = model.decoder.cross_attention_scores(tokens, model.decoder.audio_cache(features), heads)
        assert found[0].shape == (2, len(tokens), len(features))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("timing", ["default", "openai"])
def test_word_times_do_not_read_the_audio_again(model, monkeypatch, timing):
    n, store = [], TextDecoder._store_audio
    monkeypatch.setattr(TextDecoder, "_store_audio", lambda *args: (n.append(1), store(*args)))
    plain = model.transcribe(speech("en_three"), language="en")
    n_plain = len(n)
    result = model.transcribe(speech("en_three"), language="en", word_timestamps=True, word_timing=timing)
    assert result.text == plain.text
    assert len(result.segments[0].words) > 1
    assert len(n) == 2 * n_plain
