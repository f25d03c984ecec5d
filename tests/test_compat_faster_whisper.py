"""whisper_apr.compat.faster_whisper has the names of faster-whisper, whose results are those of `WhisperModel`."""

import inspect
import json
import re
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recordings import silence, speech
from whisper_apr.compat.faster_whisper import BatchedInferencePipeline, WhisperModel, transcribe, vad
from whisper_apr.compat.faster_whisper.audio import pad_or_trim
from whisper_apr.compat.faster_whisper.feature_extractor import FeatureExtractor
from whisper_apr.compat.faster_whisper.tokenizer import Tokenizer
from whisper_apr.errors import FormatError, ModelNotFoundError, OptionError

pytestmark = pytest.mark.usefixtures("encoded_once")

TABLE = json.loads((Path(__file__).parent / "data" / "faster_whisper_names.json").read_text(encoding="utf-8"))
ABSENT = {
    ("audio", "_group_frames"),
    ("audio", "_ignore_invalid_frames"),
    ("audio", "_resample_frames"),
    ("BatchedInferencePipeline", "forward"),
    ("WhisperModel", "generate_segments"),
    ("FeatureExtractor", "stft"),
}


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return WhisperModel("digits")


def compare(where: str, expected: list[list[str | None]], function: Any) -> None:
    """Parameters have the same order, kinds and defaults; ours may end with others that are keyword-only."""
    found = inspect.signature(function).parameters
    for (name, kind, default), parameter in zip(expected, found.values(), strict=False):
        assert (parameter.name, parameter.kind.name) == (name, kind), where
        given = None if parameter.default is parameter.empty else repr(parameter.default)
        assert given == default, f"{where}: {name}"
    assert all(p.kind is p.KEYWORD_ONLY for p in list(found.values())[len(expected) :])


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in TABLE for name in TABLE[module]])
def test_names_keywords_and_defaults(module: str, name: str) -> None:
    ours = import_module(f"whisper_apr.compat.faster_whisper.{module}")
    if (module, name) in ABSENT:
        with pytest.raises(AttributeError, match=f"{name} needs"):
            getattr(ours, name)
        return
    value, entry = getattr(ours, name), TABLE[module][name]
    if entry.get("fields"):
        assert [field.name for field in fields(value)] == entry["fields"]
    for method, expected in entry.get("methods", {}).items():
        if (name, method) in ABSENT or name == "disabled_tqdm":
            continue
        compare(f"{name}.{method}", expected, getattr(value, method))
    if "parameters" in entry:
        compare(name, entry["parameters"], value)


def test_absent_steps_say_so(model: WhisperModel) -> None:
    for owner, name in (
        (model, "generate_segments"),
        (model.model, "unload_model"),
        (model.feature_extractor, "stft"),
        (BatchedInferencePipeline(model), "forward"),
    ):
        with pytest.raises(AttributeError, match=f"{name}.*whisper_apr does without"):
            getattr(owner, name)
        assert not hasattr(owner, "nonsense")


def test_attributes(model: WhisperModel) -> None:
    assert (model.model.device, model.model.is_multilingual, model.model.n_mels) == ("cpu", True, 80)
    assert (model.frames_per_second, model.tokens_per_second, model.input_stride) == (100, 50, 2)
    assert (model.num_samples_per_token, model.time_precision, model.max_length) == (320, 0.02, 448)
    assert model.logger.name == "faster_whisper"
    assert (model.feature_extractor.nb_max_frames, model.feature_extractor.time_per_frame) == (3000, 0.01)
    assert model.supported_languages[:2] == ["af", "am"]
    with pytest.raises(ModelNotFoundError, match=r"Systran/faster-distil-whisper-small\.en"):
        WhisperModel("distil-small.en", local_files_only=True, download_root="missing")


def test_the_steps_give_the_text_of_transcribe(model: WhisperModel) -> None:
    """Prompt, encoder, decoder with fallback, and word times, called one by one."""
    audio = speech("en")
    segments, info = model.transcribe(audio, language="en", temperature=0, word_timestamps=True)
    whole = list(segments)
    tokenizer = Tokenizer(model.hf_tokenizer, True, "transcribe", "en")
    mel = model.feature_extractor(audio)[:, :-1]
    encoded = model.encode(pad_or_trim(mel))
    prompt = model.get_prompt(tokenizer, [])
    assert prompt == tokenizer.sot_sequence
    options = info.transcription_options
    result, score, temperature, _ = model.generate_with_fallback(encoded, prompt, tokenizer, options)
    (tokens,) = result.sequences_ids
    assert tokenizer.decode(tokens) == "".join(segment.text for segment in whole)
    assert (temperature, score) == (0.0, pytest.approx(whole[0].avg_logprob))
    assert result.no_speech_prob == pytest.approx(whole[0].no_speech_prob)
    text = [token for token in tokens if token < tokenizer.eot]
    (words,) = model.find_alignment(tokenizer, [text], encoded, mel.shape[1])
    assert "".join(word["word"] for word in words) == tokenizer.decode(text)
    (aligned,) = model.model.align(encoded, tokenizer.sot_sequence, [text], mel.shape[1])
    assert len(aligned.text_token_probs) == len(text)
    assert aligned.alignments[0][0] == 0
    timed = [[{"seek": 0, "start": 0.0, "end": 2.0, "tokens": tokens}]]
    end = model.add_word_timestamps(timed, tokenizer, encoded, mel.shape[1], "", "", 0.0)
    assert end == timed[0][0]["end"] == timed[0][0]["words"][-1]["end"]
    assert [word["word"] for word in timed[0][0]["words"]] == [word["word"] for word in words]
    batched = BatchedInferencePipeline(model).generate_segment_batched(
        np.stack([pad_or_trim(mel)] * 2), tokenizer, options
    )
    assert [each["tokens"] for each in batched[1]] == [tokens] * 2
    assert model.model.detect_language(encoded)[0][0][0] == "<|en|>"


def test_a_batch_of_windows_by_the_members_of_model(model: WhisperModel) -> None:
    """Windows that are encoded and decoded by `model` and turned into text by `hf_tokenizer`, as whisperX does."""
    audio = speech("en")
    tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, "transcribe", "en")
    assert (model.feat_kwargs["feature_size"], model.model.device, len(model.model.device_index)) == (80, "cpu", 1)
    windows = np.stack([pad_or_trim(model.feature_extractor(audio)[:, :-1])] * 2)
    encoded = model.model.encode(transcribe.get_ctranslate2_storage(windows), to_cpu=False)
    prompt = model.get_prompt(tokenizer, [], without_timestamps=True)
    found = model.model.generate(
        encoded, [prompt] * 2, beam_size=2, patience=1, length_penalty=1, max_length=model.max_length,
        suppress_blank=True, suppress_tokens=[-1], return_scores=True,
    )  # fmt: skip
    tokens = [each.sequences_ids[0] for each in found]
    expected = "".join(segment.text for segment in model.transcribe(audio, language="en", without_timestamps=True)[0])
    assert tokenizer.tokenizer.decode_batch(tokens) == [expected] * 2
    assert model.hf_tokenizer.decode_batch([prompt], skip_special_tokens=False)[0].startswith("<|startoftranscript|>")
    assert all(each.scores[0] < 0 for each in found)


def test_prefixes_begin_the_result(model: WhisperModel) -> None:
    tokenizer = Tokenizer(model.hf_tokenizer, True, "transcribe", "en")
    _, info = model.transcribe(speech("en"), language="en", temperature=0)
    encoded = model.encode(pad_or_trim(model.feature_extractor(speech("en"))[:, :-1]))
    prompt = model.get_prompt(tokenizer, [1, 2], prefix="nine nine", hotwords="ignored")
    assert prompt[:3] == [tokenizer.sot_prev, 1, 2]
    (result,) = model.model.generate(encoded, [prompt], return_scores=True)
    assert tokenizer.decode(result.sequences_ids[0]).startswith(" nine nine")
    info.transcription_options.max_new_tokens = 448
    with pytest.raises(OptionError, match="exceed"):
        model.generate_with_fallback(encoded, prompt, tokenizer, info.transcription_options)
    for wrong in ({"asynchronous": True}, {"sampling_topk": 5}):
        with pytest.raises(OptionError):
            model.model.generate(encoded, [prompt], **wrong)
    with pytest.raises(OptionError, match="startoftranscript"):
        model.model.generate(encoded, [[1]])


def test_speech_timestamps_and_chunks() -> None:
    audio = np.concatenate([silence(1), speech("en"), silence(3), speech("en"), silence(1)])
    spans = vad.get_speech_timestamps(audio, min_silence_duration_ms=500, speech_pad_ms=0)
    assert len(spans) == 2
    assert spans == vad.get_speech_timestamps(audio, vad.VadOptions(min_silence_duration_ms=500, speech_pad_ms=0))
    chunks, metadata = vad.collect_chunks(audio, spans)
    assert len(chunks) == 1
    assert metadata[0]["duration"] == sum(span["end"] - span["start"] for span in spans) / 16000
    chunks, metadata = vad.collect_chunks(audio, spans, max_duration=3)
    assert [entry["segments"] for entry in metadata if entry["segments"]] == [[span] for span in spans]
    times = vad.SpeechTimestampsMap(spans, 16000)
    first = (spans[0]["end"] - spans[0]["start"]) / 16000
    assert times.get_original_time(first, is_end=True) == pytest.approx(spans[0]["end"] / 16000, abs=0.01)
    assert times.get_original_time(first) == pytest.approx(spans[1]["start"] / 16000, abs=0.01)
    word = transcribe.Word(first + 0.1, first + 0.3, " one", 1.0)
    segment = transcribe.Segment(1, 0, 0.0, first + 0.3, " one", [], 0.0, 1.0, 0.0, [word], 0.0)
    (restored,) = transcribe.restore_speech_timestamps([segment], spans, 16000)
    assert restored is segment
    assert asdict(segment)["start"] == pytest.approx(spans[1]["start"] / 16000 + 0.1, abs=0.01)
    assert vad.collect_chunks(audio, [])[1] == [{"offset": 0.0, "duration": 0.0, "segments": []}]
    assert vad.get_vad_model()(audio[:5120]).shape == (10,)
    with pytest.raises(OptionError, match="16000"):
        vad.get_speech_timestamps(audio, sampling_rate=8000)


def test_punctuation_is_merged_in_place() -> None:
    words = [{"word": word, "tokens": [i]} for i, word in enumerate([" (", " one", ",", " two"])]
    transcribe.merge_punctuations(words, "(", ",")
    assert [word["word"] for word in words] == ["", " ( one,", "", " two"]
    assert words[1]["tokens"] == [0, 1, 2]


def test_feature_extractor() -> None:
    extract = FeatureExtractor(chunk_length=10)
    assert (extract.n_samples, extract.nb_max_frames) == (160000, 1000)
    assert extract(np.zeros(1600), chunk_length=20).shape == (80, 11)
    assert extract.nb_max_frames == 2000
    assert FeatureExtractor.get_mel_filters(16000, 400).shape == (128, 201)
    with pytest.raises(OptionError, match="hop_length"):
        FeatureExtractor(hop_length=80)


class Tensor:
    """What is read of a torch tensor that requires gradients."""

    def __init__(self, values: np.ndarray, *, is_detached: bool = False) -> None:
        self.values, self.is_detached, self.ndim = values, is_detached, values.ndim

    def detach(self) -> "Tensor":
        return Tensor(self.values, is_detached=True)

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> np.ndarray:
        if not self.is_detached:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return self.values

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self.numpy()


def test_tensors(model: WhisperModel) -> None:
    audio, tensor = speech("en"), Tensor(speech("en"))
    options = {"language": "en", "temperature": 0.0}
    expected = list(model.transcribe(audio, **options)[0])
    assert list(model.transcribe(tensor, **options)[0]) == expected
    pipeline = BatchedInferencePipeline(model)
    assert list(pipeline.transcribe(tensor, **options)[0]) == list(pipeline.transcribe(audio, **options)[0])
    assert model.detect_language(tensor) == model.detect_language(audio)
    mel = model.feature_extractor(audio)
    np.testing.assert_array_equal(model.feature_extractor(tensor), mel)
    np.testing.assert_array_equal(pad_or_trim(Tensor(mel)), pad_or_trim(mel))
    np.testing.assert_array_equal(model.encode(Tensor(pad_or_trim(mel))), model.encode(pad_or_trim(mel)))
    assert vad.get_speech_timestamps(tensor) == vad.get_speech_timestamps(audio)


def test_windows_that_are_not_padded(model: WhisperModel) -> None:
    """stable-ts encodes spectrograms of less than 30 s, of an odd number of frames too, and aligns text with them."""
    audio = speech("en")
    tokenizer = Tokenizer(model.hf_tokenizer, True, "transcribe", "en")
    text = tokenizer.encode(" three one four one five")
    for n_frame in (300, 301):
        mel = model.feature_extractor(audio)[:, :n_frame]
        encoded = model.encode(mel)
        assert encoded.shape == (1, (n_frame + 1) // 2, model.recognizer.dims.n_audio_state)
        (aligned,) = model.model.align(encoded, tokenizer.sot_sequence, [text], n_frame)
        assert len(aligned.text_token_probs) == len(text)
        assert max(position for _, position in aligned.alignments) < encoded.shape[1]
        timed = [[{"seek": 0, "start": 0.0, "end": 3.0, "tokens": list(text)}]]
        model.add_word_timestamps(timed, tokenizer, encoded, n_frame, "", "", 0.0)
        assert [word["word"] for word in timed[0][0]["words"]] == [" three", " one", " four", " one", " five"]
    with pytest.raises(OptionError, match="3000"):
        model.encode(np.zeros((80, 3002)))


def test_width_of_the_median_filter(model: WhisperModel) -> None:
    tokenizer = Tokenizer(model.hf_tokenizer, True, "transcribe", "en")
    encoded = model.encode(pad_or_trim(model.feature_extractor(speech("en"))))
    text = [tokenizer.encode(" three one four one five")]
    found = {w: model.model.align(encoded, tokenizer.sot_sequence, text, 300, median_filter_width=w)[0] for w in (1, 7)}
    assert found[1].text_token_probs == found[7].text_token_probs
    assert found[1].alignments != found[7].alignments
    assert model.model.align(encoded, tokenizer.sot_sequence, text, 300)[0] == found[7]
    for width in (0, 2, 65, 1.5):
        with pytest.raises(OptionError, match="median_filter_width"):
            model.model.align(encoded, tokenizer.sot_sequence, text, 300, median_filter_width=width)


def test_folders_come_before_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("base", "distil-small.en"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("base", "distil-small.en"):
        with pytest.raises(FormatError, match=re.escape(str(tmp_path / name))):
            WhisperModel(name)
