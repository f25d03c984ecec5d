"""`hallucination_filter`: text that nobody says is left out, recorded, and does not prompt the next window."""

import json
from dataclasses import replace

import numpy as np
import pytest

from recordings import join, noise, silence, speech
from whisper_apr import BatchedInferencePipeline, DroppedText, OptionError, Transcription, WhisperModel
from whisper_apr.inference.decode import DecodingResult
from whisper_apr.inference.language import tokenizer_of
from whisper_apr.inference.options import TranscribeOptions
from whisper_apr.inference.prompts import PromptContext
from whisper_apr.inference.speech_evidence import SECONDS_PER_FRAME, SpeechEvidence
from whisper_apr.inference.spoken_text import SpokenTextFilter
from whisper_apr.inference.windows import WindowSequence

pytestmark = pytest.mark.usefixtures("encoded_once")

PROMPTED = {"language": "en", "temperature": 0.0, "initial_prefix": "nine"}  # a text that nobody says
LOOP = {"hotwords": "nine", "hotword_bias": 100.0, "suppress_tokens": "", "without_timestamps": True, "language": "en"}


@pytest.mark.parametrize("options", [{}, {"word_timestamps": True}, {"batch_size": 2}, {"vad_filter": True}])
def test_speech_is_unchanged(model, options) -> None:
    samples = join(speech("en"), silence(2), speech("en_three"))
    plain = model.transcribe(samples, **options)
    filtered = model.transcribe(samples, hallucination_filter=True, **options)
    assert filtered.dropped == []
    assert {**filtered} == {**plain, "dropped": []}
    assert plain.dropped is None
    assert "dropped" not in plain


@pytest.mark.parametrize("samples", [silence(3), noise(3, 0.1)])
def test_improbable_text_without_speech_is_dropped(model, samples) -> None:
    assert model.transcribe(samples, **PROMPTED).text == " nine"
    result = model.transcribe(samples, hallucination_filter=True, **PROMPTED)
    assert result.text == ""
    assert result.segments == []
    (dropped,) = result.dropped
    assert isinstance(dropped, DroppedText)
    assert (dropped.text, dropped.reason, dropped.start, dropped.end) == (" nine", "no_speech", 0, 3)
    assert dropped.speech_prob < 0.1
    assert dropped.avg_logprob < -0.1
    assert list(dropped) == ["start", "end", "text", "reason", "speech_prob", "avg_logprob"]


def test_json_lists_what_was_dropped(model, tmp_path) -> None:
    result = model.transcribe(silence(3), hallucination_filter=True, **PROMPTED)
    result.save(tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["dropped"] == [{**each} for each in result.dropped]
    assert Transcription.to_dict(result)["dropped"] == written["dropped"]


def test_silent_windows_are_recorded(model) -> None:
    silent = {"no_speech_threshold": 0.5, "logprob_threshold": 0.0}
    (dropped,) = model.transcribe(silence(3), hallucination_filter=True, **PROMPTED, **silent).dropped
    assert dropped.reason == "silent_window"


def test_anomalous_words_are_recorded(model) -> None:
    options = {"language": "en", "word_timestamps": True, "hallucination_silence_threshold": 0.0}
    result = model.transcribe(speech("en"), hallucination_filter=True, initial_prefix="zebra zebra zebra", **options)
    assert "anomalous_words" in {each.reason for each in result.dropped}


@pytest.mark.parametrize("beams", [{}, {"beam_size": 2}, {"temperature": 1.0, "best_of": 2, "seed": 0}])
def test_a_loop_is_stopped_and_its_copies_are_dropped(model, prompts, beams) -> None:
    options = {"temperature": 0.0} | LOOP | beams
    whole = model.transcribe(speech("en"), **options)
    n_token = len(whole.segments[0].tokens)
    assert n_token == 224  # the limit
    result = model.transcribe(speech("en"), hallucination_filter=True, **options)
    assert sum(len(segment.tokens) for segment in result.segments) < 8
    (dropped,) = [each for each in result.dropped if each.reason == "repetition"]
    assert len(dropped.text) < len(whole.text) / 3
    assert whole.text.startswith(result.text)


def test_a_loop_is_decoded_again(model, prompts) -> None:
    model.transcribe(speech("en"), compression_ratio_threshold=None, temperature=(0.0, 0.2), **LOOP)
    n_plain = len(prompts)
    model.transcribe(
        speech("en"), compression_ratio_threshold=None, temperature=(0.0, 0.2), hallucination_filter=True, **LOOP
    )
    assert (n_plain, len(prompts) - n_plain) == (1, 2)


def test_a_window_without_speech_is_decoded_once(model, prompts) -> None:
    options = PROMPTED | {"temperature": (0.0, 0.2, 0.4), "logprob_threshold": 0.0, "no_speech_threshold": None}
    model.transcribe(silence(3), hallucination_filter=True, **options)
    assert len(prompts) == 1
    model.transcribe(silence(3), **options)
    assert len(prompts) == 1 + 3


def test_times_are_those_of_the_recording(model) -> None:
    """With `vad_filter`, the text of the silence that is kept around speech has times in the recording."""
    samples = join(silence(20), noise(3, 0.01))
    options = PROMPTED | {"vad_filter": True, "vad_parameters": {"threshold": 1e-6, "neg_threshold": 0.0}}
    result = model.transcribe(samples, hallucination_filter=True, **options)
    assert all(0 <= each.start <= each.end <= 23 for each in result.dropped)


def test_channels_are_filtered_each(model) -> None:
    samples = np.stack([speech("en"), noise(9, 0.1)[: len(speech("en"))]], axis=1)
    options = PROMPTED | {"channel": "each"}
    result = model.transcribe(samples, hallucination_filter=True, **options)
    assert {segment.speaker for segment in result.segments} == {"0"}
    assert [each.text for each in result.dropped] == [" nine"]


def test_many_recordings(model) -> None:
    first, second = model.transcribe_many([silence(3), speech("en")], hallucination_filter=True, **PROMPTED)
    assert (len(first.dropped), second.dropped) == (1, [])


def test_faster_whispers_interface(model) -> None:
    options = {"language": "en", "temperature": 0.0, "beam_size": 1, "prefix": "nine", "vad_filter": False}
    whisper = WhisperModel("digits")
    for engine in (whisper, BatchedInferencePipeline(whisper)):
        segments, info = engine.transcribe(silence(3), hallucination_filter=True, **options)
        assert list(segments) == []
        assert [each.text for each in info.dropped] == [" nine"]
        segments, info = engine.transcribe(silence(3), **options)
        assert len(list(segments)) == 1
        assert info.dropped is None


def test_options_are_checked(model) -> None:
    with pytest.raises(OptionError, match="hallucination_filter must be True or False"):
        model.transcribe(silence(1), hallucination_filter="yes")


# ---- the filter alone -----------------------------------------------------------------------------------------------


class Speech(SpeechEvidence):
    """Speech in some seconds of a recording, with a probability of 0.2 elsewhere."""

    def __init__(self, *spans: tuple[float, float]) -> None:
        self.probabilities = np.full(round(60 / SECONDS_PER_FRAME), 0.2, np.float32)
        for start, end in spans:
            self.probabilities[round(start / SECONDS_PER_FRAME) : round(end / SECONDS_PER_FRAME)] = 1


class Frames:
    def read(self, start: int, size: int) -> np.ndarray:
        return np.zeros((80, size), np.float32)


def advanced(model, evidence: SpeechEvidence, logprob: float, *parts: float | str, **changes) -> WindowSequence:
    """Return a sequence after its first window of 30 s, whose text is given as timestamps and words."""
    tokenizer = tokenizer_of(model)
    sequence = WindowSequence(
        *(Frames(), [(0, 6000)], tokenizer, TranscribeOptions(hallucination_filter=True)),
        *(PromptContext((), (), 100), 6000),
    )
    sequence.text_filter = SpokenTextFilter(model, evidence)
    tokens = [
        token
        for part in parts
        for token in (
            tokenizer.encode(part) if isinstance(part, str) else [tokenizer.timestamp_begin + round(part * 50)]
        )
    ]
    features = np.zeros((1500, model.dims.n_audio_state), np.float32)
    result = DecodingResult(features, "en", tokens=tokens, avg_logprob=logprob, no_speech_prob=0.0, temperature=0.0)
    window = sequence.next_window()
    sequence.kept = [s.text for s in sequence.advance(window, replace(result, **changes)) if s.text]
    return sequence


TWO = (0.0, " one", 4.0, 4.0, " two", 8.0)


def test_only_the_segment_without_speech_is_dropped(model, monkeypatch) -> None:
    monkeypatch.setattr(SpokenTextFilter, "_attended_speech", lambda self, texts, *_: [0.0] * len(texts))
    after = advanced(model, Speech((0, 4)), -0.9, *TWO)
    assert after.kept == [" one"]
    assert [(each.text, each.start, each.end) for each in after.dropped] == [(" two", 4, 8)]


def test_a_certain_text_is_kept_with_little_evidence(model) -> None:
    assert advanced(model, Speech(), -0.3, *TWO).kept == [" one", " two"]
    assert advanced(model, Speech(), -0.4, *TWO).kept == []


def test_a_text_with_wrong_times_is_kept_if_the_decoder_attends_to_speech(model, monkeypatch) -> None:
    monkeypatch.setattr(SpokenTextFilter, "_attended_speech", lambda self, texts, *_: [0.9] * len(texts))
    assert advanced(model, Speech((20, 24)), -0.9, *TWO).kept == [" one", " two"]


def test_the_attention_is_asked_in_windows_with_speech_only(model, monkeypatch) -> None:
    monkeypatch.setattr(SpokenTextFilter, "_attended_speech", lambda *_: pytest.fail("it was asked"))
    assert advanced(model, Speech(), -0.9, *TWO).kept == []


def test_a_doubtful_window_does_not_prompt_the_next(model) -> None:
    def prompt(after: WindowSequence) -> tuple[int, ...]:
        return after.next_window().prompt

    heard = Speech((0, 30))
    assert prompt(advanced(model, heard, -0.2, *TWO))
    assert not prompt(advanced(model, heard, -0.2, *TWO, temperature=0.2))  # decoded again
    assert not prompt(advanced(model, heard, -1.2, *TWO))  # failed at every temperature
    assert not prompt(advanced(model, Speech(), -0.9, *TWO))  # dropped
    assert not prompt(advanced(model, Speech(), -1.2, *TWO, no_speech_prob=0.9))  # silence


def test_the_seek_passes_an_early_loop(model) -> None:
    heard, looped = Speech((0, 30)), " nine" * 60
    assert advanced(model, heard, -0.2, 0.0, looped).seek == 3000
    early = advanced(model, heard, -0.2, 0.0, " one", 2.0, 2.0, looped)
    assert (early.seek, early.kept) == (3000, [" one"])
    late = advanced(model, heard, -0.2, 0.0, " one", 9.0, 9.0, looped, 29.0, 29.0)
    assert late.kept[0] == " one"
    assert late.dropped[0].text == " nine" * 59
