"""faster-whisper's classes give the results of `transcribe`, with faster-whisper's names and defaults."""

import dataclasses
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import models
import whisper_apr
from whisper_apr import BatchedInferencePipeline, WhisperModel, decode_audio, format_timestamp, load_audio
from whisper_apr.errors import AudioError, ModelNotFoundError, OptionError
from whisper_apr.faster_whisper import Segment, TranscriptionInfo, TranscriptionOptions, VadOptions, Word

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return WhisperModel("digits")


def test_segments_and_info(model):
    segments, info = model.transcribe(str(DATA / "en.wav"), beam_size=5)
    assert iter(segments) is segments  # lazy
    found = list(segments)
    whole = model.recognizer.transcribe(DATA / "en.wav", beam_size=5, best_of=5)
    assert [s.text for s in found] == [s.text for s in whole.segments]
    assert found[0].id == 1
    assert found[0].words is None
    assert isinstance(info, TranscriptionInfo)
    assert (info.language, info.vad_options) == ("en", None)
    assert info.duration == info.duration_after_vad == pytest.approx(len(load_audio(DATA / "en.wav")) / 16000)
    ranked = info.all_language_probs
    assert ranked[0] == ("en", info.language_probability)
    assert sum(p for _, p in ranked) == pytest.approx(1, abs=1e-4)


def test_results_are_mutable_dataclasses_with_lists(model):
    segments, info = model.transcribe(DATA / "en.wav", word_timestamps=True, hotwords="ComfyUI", temperature=0)
    segment = next(segments)
    assert [field.name for field in dataclasses.fields(Segment)] == list(asdict(segment))
    assert json.loads(json.dumps(asdict(segment)))["words"][0]["word"] == segment.words[0].word
    segment.text, segment.words = "other", [*segment.words, Word(0.0, 1.0, " nine", 1.0)]
    assert (segment.text, segment.words[-1].word) == ("other", " nine")
    assert isinstance(segment.tokens, list)
    assert dataclasses.replace(segment, text="").start == segment.start
    for record in (segment, segment.words[0]):
        with pytest.warns(DeprecationWarning, match="dataclasses.asdict"):
            assert record._asdict() == asdict(record)
    options = info.transcription_options
    assert isinstance(options, TranscriptionOptions)
    assert (options.beam_size, options.temperatures, options.hotwords) == (5, [0.0], "ComfyUI")
    assert 50258 in options.suppress_tokens
    options.beam_size = 1
    assert options.beam_size == 1


def test_channels_are_speakers(model):
    stereo = np.stack([load_audio(DATA / "en.wav")] * 2, axis=1)
    found = list(model.transcribe(stereo, channel="each", language="en", word_timestamps=True)[0])
    assert {segment.speaker for segment in found} == {"0", "1"}
    assert all(word.speaker == segment.speaker for segment in found for word in segment.words)
    assert "speaker" not in asdict(found[0])


def test_options_for_voice_activity_can_be_changed(model):
    options = VadOptions(min_silence_duration_ms=500)
    options.speech_pad_ms = 0
    _, info = model.transcribe(DATA / "en.wav", vad_filter=True, vad_parameters=options)
    same = whisper_apr.VadOptions(min_silence_duration_ms=500, speech_pad_ms=0)
    _, frozen = model.transcribe(DATA / "en.wav", vad_filter=True, vad_parameters=same)
    assert info.vad_options == frozen.vad_options == options
    assert info.duration_after_vad < info.duration
    assert model.detect_language(DATA / "en.wav", vad_filter=True, vad_parameters=options)[0] == "en"
    options.threshold = 2
    with pytest.raises(OptionError, match="threshold"):
        model.transcribe(DATA / "en.wav", vad_filter=True, vad_parameters=options)


def test_windows_of_chunk_length(model, monkeypatch):
    """Windows, batches and the detection of the language do not exceed it."""
    from whisper_apr.inference.windows import WindowSequence

    sizes, advance = [], WindowSequence.advance
    monkeypatch.setattr(
        WindowSequence, "advance", lambda self, window, *rest: sizes.append(window.size) or advance(self, window, *rest)
    )
    audio = np.concatenate([load_audio(DATA / "en.wav")] * 4)
    common = {"language": "en", "temperature": 0, "chunk_length": 5, "beam_size": 1}
    list(model.transcribe(audio, **common)[0])
    list(BatchedInferencePipeline(model).transcribe(audio, vad_filter=False, **common)[0])
    assert max(sizes) == 500
    assert len(sizes) >= 2 * len(audio) / 16000 / 5


def test_prompt_reset_on_temperature(model, prompts):
    audio = np.concatenate([load_audio(DATA / "en.wav"), np.zeros(30 * 16000, np.float32), load_audio(DATA / "en.wav")])
    for threshold, begins in ((0.5, 50258), (0.7, 50361)):
        prompts.clear()
        options = {"prompt_reset_on_temperature": threshold, "temperature": 0.6, "no_speech_threshold": None}
        list(model.transcribe(audio, language="en", **options)[0])
        assert prompts[1][0] == begins


def test_length_penalty_ranks_by_a_power_of_the_length():
    from whisper_apr.inference.search import rank

    texts, scores = [(1,), (1, 2, 3)], [-1.0, -4.0]
    assert rank(texts, scores, None) == 0
    assert rank(texts, scores, None, 1.0) == 0
    assert rank(texts, scores, None, 2.0) == 1  # -1 against -4/9


def test_english_only_model_ignores_other_languages(tmp_path, caplog):
    dims = models.dimensions(16, 2, 1, n_vocab=51864)
    faster = WhisperModel(models.write_pt(tmp_path / "model.pt", dims, models.random_tensors(dims, 0)))
    with caplog.at_level(logging.WARNING, "whisper_apr"):
        _, info = faster.transcribe(DATA / "en.wav", language="fr", multilingual=True)
    assert info.language == "en"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    with pytest.raises(OptionError, match="xx"):
        faster.transcribe(DATA / "en.wav", language="xx")


@pytest.mark.parametrize(("name", "same"), [("int16", "float16"), ("bfloat16", "float16"), ("int8_bfloat16", "int8")])
def test_compute_types_of_ctranslate2(name, same):
    assert repr(WhisperModel("digits", compute_type=name)).replace(name, same) == repr(
        WhisperModel("digits", compute_type=same)
    )


def test_segments_are_decoded_lazily(model, monkeypatch):
    from whisper_apr.inference.generation import Generation

    segments, info = model.transcribe(DATA / "en.wav", language="en")
    assert info.all_language_probs is None
    monkeypatch.setattr(Generation, "__init__", lambda *_, **__: pytest.fail("decoded already"))
    with pytest.raises(pytest.fail.Exception, match="decoded already"):
        next(segments)


def test_words(model):
    segments, _ = model.transcribe(DATA / "de.wav", word_timestamps=True, beam_size=1)
    words = [word for segment in segments for word in segment.words]
    assert list(asdict(words[0])) == ["start", "end", "word", "probability"]
    assert all(0 <= w.start <= w.end for w in words)


def test_vad_filter_leaves_out_silence(model):
    speech, silence = load_audio(DATA / "en.wav"), np.zeros(5 * 16000, np.float32)
    segments, info = model.transcribe(
        np.concatenate([silence, speech]), vad_filter=True, vad_parameters={"min_silence_duration_ms": 500}
    )
    found = list(segments)
    assert found[0].start >= 4
    assert info.duration - info.duration_after_vad > 3
    assert info.vad_options == VadOptions(min_silence_duration_ms=500)
    assert "".join(s.text for s in found).split() == model.recognizer.transcribe(speech).text.split()


def test_batched(model):
    pause = np.zeros(16000, np.float32)
    audio = np.concatenate([load_audio(DATA / "en.wav"), pause] * 7)
    # temperature 0, as sampling differs each time
    common = {"language": "en", "temperature": 0}
    segments, info = BatchedInferencePipeline(model).transcribe(audio, batch_size=4, beam_size=1, **common)
    text = "".join(segment.text for segment in segments)
    same = common | {"batch_size": 3, "without_timestamps": True, "vad_filter": True}
    assert text == model.recognizer.transcribe(audio, vad_parameters=asdict(info.vad_options), **same).text
    assert info.vad_options.max_speech_duration_s == 30
    clips = [{"start": 0, "end": len(audio) / 16000 / 7}]
    segments, _ = BatchedInferencePipeline(model).transcribe(audio, beam_size=1, clip_timestamps=clips)
    assert "".join(segment.text for segment in segments).split() == ["three", "one", "four", "one", "five"]


@pytest.mark.parametrize("options", [{}, {"without_timestamps": True}, {"word_timestamps": True}], ids=str)
@pytest.mark.parametrize("batched", [False, True])
def test_prefix_begins_the_first_window_and_stays_in_the_text(model, options, batched):
    """Even a wrong prefix, and the speech after it is still transcribed."""
    audio = np.concatenate([load_audio(DATA / "en.wav"), np.zeros(30 * 16000, np.float32), load_audio(DATA / "en.wav")])
    options = options | {"language": "en", "temperature": 0, "condition_on_previous_text": False, "vad_filter": False}
    transcribe = BatchedInferencePipeline(model).transcribe if batched else model.transcribe
    without = [segment.text for segment in transcribe(audio, **options)[0]]
    found = [segment.text for segment in transcribe(audio, prefix="three one nine", **options)[0]]
    text = "".join(found)
    assert text.startswith(" three one nine")
    assert text.count("nine") == 1
    assert text.endswith("".join(without)[-20:])
    if options.get("word_timestamps"):
        words = [w.word for segment in transcribe(audio, prefix="three one nine", **options)[0] for w in segment.words]
        assert words[:3] == [" three", " one", " nine"]


def test_long_prefix_is_cut(model):
    """To 223 tokens, half of the text context less one, so that as many tokens can follow."""
    segments, _ = model.transcribe(DATA / "en.wav", prefix="three " * 1000, language="en", temperature=0)
    tokens = [token for segment in segments for token in segment.tokens]
    (three,) = set(tokens[1:224])
    assert tokens[0] == 50364  # <|0.00|>
    assert tokens[224] != three
    others = {"initial_prompt": "one " * 1000, "hotwords": "two " * 1000}
    segments, _ = model.transcribe(DATA / "en.wav", prefix="three " * 1000, language="en", temperature=0, **others)
    assert next(segments).tokens[:224] == tokens[:224]


def test_hotwords_reach_every_window_as_a_prompt(model, prompts):
    audio = np.concatenate([load_audio(DATA / "en.wav"), np.zeros(30 * 16000, np.float32), load_audio(DATA / "en.wav")])
    for transcribe in (model.transcribe, BatchedInferencePipeline(model).transcribe):
        prompts.clear()
        list(transcribe(audio, hotwords="seven", language="en", temperature=0, vad_filter=False)[0])
        assert len(prompts) >= 2
        assert len({tuple(prompt[:2]) for prompt in prompts}) == 1
        assert all(prompt[0] == 50361 for prompt in prompts)  # <|startofprev|>


def test_initial_prompt_reaches_every_window_of_a_batch(model, prompts):
    audio = np.concatenate([load_audio(DATA / "en.wav"), np.zeros(30 * 16000, np.float32), load_audio(DATA / "en.wav")])
    options = {"initial_prompt": "seven", "language": "en", "temperature": 0, "vad_filter": False}
    list(BatchedInferencePipeline(model).transcribe(audio, **options)[0])
    assert len(prompts) >= 2
    assert {prompt[0] for prompt in prompts} == {50361}  # <|startofprev|>
    prompts.clear()
    list(model.transcribe(audio, condition_on_previous_text=False, **options)[0])
    assert [prompt[0] for prompt in prompts] == [50361, *[50258] * (len(prompts) - 1)]


def test_detect_language(model):
    language, probability, ranked = model.detect_language(DATA / "fr.wav")
    assert (language, probability) == ranked[0]
    assert language == "fr"
    assert "fr" in model.supported_languages


def test_decode_audio():
    np.testing.assert_array_equal(decode_audio(DATA / "en.wav"), load_audio(DATA / "en.wav"))
    left, right = decode_audio(DATA / "en.wav", split_stereo=True)
    np.testing.assert_array_equal(left, right)
    assert len(decode_audio(DATA / "en.wav", 8000)) == -(-len(left) // 2)
    with pytest.raises(AudioError):
        decode_audio("missing.wav", split_stereo=True)


def test_unsupported_arguments_raise_errors(model):
    for wrong in ({"chunk_length": 31}, {"prompt_reset_on_temperature": -1}, {"language": "xx"}):
        with pytest.raises(OptionError):
            model.transcribe(DATA / "en.wav", **wrong)
    with pytest.raises(OptionError, match="frequency"):
        model.transcribe(DATA / "en.wav", vad_filter=True, vad_parameters={"frequency": 1})
    with pytest.raises(OptionError, match="device"):
        WhisperModel("digits", device="cuda")
    with pytest.raises(OptionError, match="files"):
        WhisperModel("digits", files={"a": b""})
    with pytest.raises(OptionError, match="HF_TOKEN"):
        WhisperModel("digits", use_auth_token="hf_x")
    with pytest.raises(ModelNotFoundError):
        WhisperModel("no-such-model")


def test_local_files_only(tmp_path):
    with pytest.raises(ModelNotFoundError, match="local_files_only"):
        WhisperModel("tiny", local_files_only=True, download_root=str(tmp_path))
    assert WhisperModel("digits", local_files_only=True).is_multilingual


def test_format_timestamp():
    assert format_timestamp(3661.5) == "01:01:01.500"
    assert format_timestamp(1.5, always_include_hours=True, decimal_marker=",") == "00:00:01,500"
