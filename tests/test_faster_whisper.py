"""faster-whisper's classes give the results of `transcribe`, with faster-whisper's names and defaults."""

from pathlib import Path

import numpy as np
import pytest

from whisper_apr import (
    BatchedInferencePipeline,
    TranscriptionInfo,
    VadOptions,
    WhisperModel,
    decode_audio,
    format_timestamp,
    load_audio,
)
from whisper_apr.errors import AudioError, ModelNotFoundError, OptionError

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


def test_segments_are_decoded_lazily(model, monkeypatch):
    from whisper_apr.inference.decode import DecodingTask

    segments, info = model.transcribe(DATA / "en.wav", language="en")
    assert info.all_language_probs is None
    monkeypatch.setattr(DecodingTask, "run", lambda *_, **__: pytest.fail("decoded already"))
    with pytest.raises(pytest.fail.Exception, match="decoded already"):
        next(segments)


def test_words(model):
    segments, _ = model.transcribe(DATA / "de.wav", word_timestamps=True, beam_size=1)
    words = [word for segment in segments for word in segment.words]
    assert words[0].to_dict().keys() == {"start", "end", "word", "probability"}
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
    assert text == model.recognizer.transcribe(audio, vad_parameters=info.vad_options, **same).text
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
    assert next(segments).tokens[:224] == tuple(tokens[:224])


def test_hotwords_reach_every_window_as_a_prompt(model, monkeypatch):
    from whisper_apr.inference.decode import DecodingTask

    prompts, read = [], DecodingTask._read_prompts
    monkeypatch.setattr(
        DecodingTask, "_read_prompts", lambda self, told, *rest: prompts.extend(told) or read(self, told, *rest)
    )
    audio = np.concatenate([load_audio(DATA / "en.wav"), np.zeros(30 * 16000, np.float32), load_audio(DATA / "en.wav")])
    for transcribe in (model.transcribe, BatchedInferencePipeline(model).transcribe):
        prompts.clear()
        list(transcribe(audio, hotwords="seven", language="en", temperature=0, vad_filter=False)[0])
        assert len(prompts) >= 2
        assert len({tuple(prompt[:2]) for prompt in prompts}) == 1
        assert all(prompt[0] == 50361 for prompt in prompts)  # <|startofprev|>


def test_initial_prompt_reaches_every_window_of_a_batch(model, monkeypatch):
    from whisper_apr.inference.decode import DecodingTask

    prompts, read = [], DecodingTask._read_prompts
    monkeypatch.setattr(
        DecodingTask, "_read_prompts", lambda self, told, *rest: prompts.extend(told) or read(self, told, *rest)
    )
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
    for wrong in ({"chunk_length": 10}, {"prompt_reset_on_temperature": 1}, {"language": "xx"}):
        with pytest.raises(OptionError):
            model.transcribe(DATA / "en.wav", **wrong)
    with pytest.raises(OptionError, match="frequency"):
        model.transcribe(DATA / "en.wav", vad_filter=True, vad_parameters={"frequency": 1})
    with pytest.raises(OptionError, match="device"):
        WhisperModel("digits", device="cuda")
    with pytest.raises(OptionError, match="files"):
        WhisperModel("digits", files={"a": b""})
    with pytest.raises(ModelNotFoundError):
        WhisperModel("no-such-model")


def test_local_files_only(tmp_path):
    with pytest.raises(ModelNotFoundError, match="local_files_only"):
        WhisperModel("tiny", local_files_only=True, download_root=str(tmp_path))
    assert WhisperModel("digits", local_files_only=True).is_multilingual


def test_format_timestamp():
    assert format_timestamp(3661.5) == "01:01:01.500"
    assert format_timestamp(1.5, always_include_hours=True, decimal_marker=",") == "00:00:01,500"
