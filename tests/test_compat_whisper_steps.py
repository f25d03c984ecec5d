"""Programs call the steps of a transcription by themselves: audio, decoding, alignment."""

from typing import Any

import numpy as np
import pytest

import whisper_apr
from recordings import DATA, speech
from torch_objects import Tensor, TorchDevice
from whisper_apr import AudioError, OptionError
from whisper_apr.compat import whisper
from whisper_apr.compat.whisper import _arrays, audio, decoding, model, timing

pytestmark = pytest.mark.usefixtures("encoded_once")

GREEDY = {"temperature": 0.0, "language": "en"}


@pytest.fixture(scope="module")
def digits() -> model.Whisper:
    return whisper.load_model("digits")


@pytest.fixture(scope="module")
def mel() -> _arrays.Array:
    return whisper.pad_or_trim(whisper.log_mel_spectrogram(speech("en")), 3000)


# ---- audio ----------------------------------------------------------------------------------------------------------


def test_load_audio() -> None:
    path = DATA / "en.wav"
    whole = whisper.load_audio(str(path))
    np.testing.assert_array_equal(whole, whisper_apr.load_audio(path))
    half = whisper.load_audio(file=path, sr=8000)
    assert len(half) == pytest.approx(len(whole) / 2, abs=1)
    np.testing.assert_array_equal(audio.load_audio(path, 8000), half)
    for kind in (RuntimeError, AudioError):
        with pytest.raises(kind, match="Failed to load audio: "):
            whisper.load_audio("missing.wav")


def test_tensors_are_taken_for_arrays(digits: model.Whisper) -> None:
    samples = speech("en")
    expected = whisper.log_mel_spectrogram(samples)
    np.testing.assert_array_equal(whisper.log_mel_spectrogram(Tensor(samples), device=TorchDevice("cpu")), expected)
    np.testing.assert_array_equal(whisper.log_mel_spectrogram(str(DATA / "en.wav")), expected)
    np.testing.assert_array_equal(whisper.pad_or_trim(Tensor(samples), 5), samples[:5])
    assert audio.pad_or_trim(samples).shape == (480000,)
    assert digits.transcribe(Tensor(samples, dtype="torch.bfloat16"), **GREEDY) == digits.transcribe(samples, **GREEDY)
    assert _arrays.as_array([1, 2]).tolist() == [1, 2]


def test_spectrograms_of_a_batch() -> None:
    both = np.stack([speech("en")[:32000], 1e-4 * speech("en")[16000:48000]])
    batch = whisper.log_mel_spectrogram(both, padding=160)
    assert batch.shape == (2, 80, 201)
    alone = [whisper.log_mel_spectrogram(row, padding=160) for row in both]
    np.testing.assert_allclose(batch[0], alone[0], atol=1e-6)
    assert batch[1].min() == batch.min() == pytest.approx(batch.max() - 2)
    assert alone[1].min() < batch.min()


def test_filters() -> None:
    assert audio.mel_filters("cpu", 80).shape == (80, 201)
    with pytest.raises(AssertionError):
        audio.mel_filters("cpu", 81)


def test_arrays_have_methods_of_tensors() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).view(_arrays.Array)
    for same in (array.cpu(), array.detach(), array.to("cpu"), array.to(TorchDevice("cpu")), array.to(device="cpu")):
        assert same is array
    assert type(array.numpy()) is np.ndarray
    assert array.half().dtype == array.to("torch.float16").dtype == np.float16
    assert array.half().float().dtype == array.half().to(array).dtype == np.float32
    assert array.unsqueeze(0).shape == (1, 2, 3)
    assert array.unsqueeze(-1).shape == (2, 3, 1)
    assert (array.dim(), array[0, 1].item(), type(array[:1])) == (2, 1.0, _arrays.Array)
    assert array.T.contiguous().flags.c_contiguous
    array.clone()[0] = 5
    assert array[0, 0] == 0


# ---- decoding -------------------------------------------------------------------------------------------------------


def test_decode(digits: model.Whisper, mel: _arrays.Array) -> None:
    expected = whisper_apr.decode(digits, mel, language="en")
    options = whisper.DecodingOptions("transcribe", "en", fp16=False)
    one = whisper.decode(digits, mel, options)
    assert (one.text, one.tokens) == (expected.text, expected.tokens)
    assert one.audio_features.cpu().numpy().shape == (1500, digits.dims.n_audio_state)
    assert [each.text for each in digits.decode(mel.unsqueeze(0), options, sample_len=2)] == [
        whisper_apr.decode(digits, mel, language="en", sample_len=2).text
    ]
    assert digits.decode(mel).language == "en"


def test_detect_language(digits: model.Whisper, mel: _arrays.Array) -> None:
    token, probabilities = whisper.detect_language(digits, Tensor(mel), None)
    assert (token.item(), max(probabilities, key=probabilities.get)) == (50259, "en")
    tokens, both = digits.detect_language(mel.unsqueeze(0))
    assert (tokens.tolist(), both) == ([50259], [probabilities])


def test_a_task_applies_a_programs_filter(digits: model.Whisper, mel: _arrays.Array) -> None:
    options = whisper.DecodingOptions(language="en", prompt="one two")
    plain = whisper.decode(digits, mel, options)
    seen = []

    class Forbid(decoding.LogitFilter):
        def apply(self, logits: Any, tokens: Any) -> None:
            seen.append(tokens.tolist()[0])
            logits[:, plain.tokens[1]] = -np.inf

    task = decoding.DecodingTask(digits, options)
    assert task.run(mel[None])[0].tokens == plain.tokens
    task.logit_filters.append(Forbid())
    (result,) = task.run(mel[None])
    assert plain.tokens[1] not in result.tokens
    assert seen[0] == list(task.initial_tokens)
    assert seen[-1] == [*task.initial_tokens, *result.tokens]
    assert task.initial_tokens[0] == task.tokenizer.sot_prev
    assert task.initial_tokens[task.sot_index :] == task.sot_sequence
    task.sequence_ranker = decoding.SequenceRanker()
    with pytest.raises(OptionError, match="MaximumLikelihoodRanker"):
        task.run(mel[None])


def test_filters_know_where_the_text_begins(digits: model.Whisper) -> None:
    tokenizer = whisper_apr.tokenizer.get_tokenizer(True)
    prompt = np.array([tokenizer.sot_sequence])
    n = len(prompt[0])
    more = np.concatenate([prompt, [[tokenizer.timestamp_begin]]], axis=1)
    blank = decoding.SuppressBlank(tokenizer, n)
    rules = decoding.ApplyTimestampRules(tokenizer, n, 50)
    suppress = decoding.SuppressTokens([1, 2])

    def logits(each: decoding.LogitFilter, tokens: np.ndarray) -> np.ndarray:
        values = np.zeros((1, tokenizer.encoding.n_vocab), np.float32)
        each.apply(Tensor(values), tokens)
        return np.isinf(values[0])

    assert logits(blank, prompt)[tokenizer.eot]
    assert not logits(blank, more).any()
    assert logits(suppress, prompt).nonzero()[0].tolist() == [1, 2]
    assert logits(rules, prompt)[: tokenizer.timestamp_begin].all()
    assert logits(rules, more)[tokenizer.timestamp_begin :].all()
    with pytest.raises(NotImplementedError):
        decoding.LogitFilter().apply(None, None)


def test_ranker() -> None:
    tokens, sums = [[[1, 2, 3], [1]], [[1], [1, 2]]], [[-3.0, -2.0], [-1.0, -1.5]]
    assert decoding.MaximumLikelihoodRanker(None).rank(tokens, sums) == [0, 1]
    assert decoding.MaximumLikelihoodRanker(1.0).rank(tokens, sums) == [1, 0]
    with pytest.raises(NotImplementedError):
        decoding.SequenceRanker().rank(tokens, sums)


# ---- word times -----------------------------------------------------------------------------------------------------


def test_alignment(digits: model.Whisper, mel: _arrays.Array) -> None:
    expected = digits.transcribe(speech("en"), word_timestamps=True, **GREEDY)
    tokenizer = whisper_apr.tokenizer.get_tokenizer(True, num_languages=digits.num_languages, language="en")
    (segment,) = digits.transcribe(speech("en"), **GREEDY).segments
    plain = segment.to_dict()
    n = len(speech("en")) // 160
    timing.add_word_timestamps(
        segments=[plain], model=digits, tokenizer=tokenizer, mel=mel, num_frames=n, last_speech_timestamp=0.0
    )
    assert plain == expected.segments[0]
    text = [token for token in segment.tokens if token < tokenizer.eot]
    words = timing.find_alignment(digits, tokenizer, text, Tensor(mel), n, medfilt_width=7)
    assert "".join(word.word for word in words) == segment.text
    assert [word for each in words for word in each.tokens] == text
    assert timing.find_alignment(digits, tokenizer, [], mel, n) == []
    with pytest.raises(OptionError, match="must be 7 and 1"):
        timing.find_alignment(digits, tokenizer, text, mel, n, medfilt_width=9)
    with pytest.raises(OptionError, match="no argument nonsense"):
        timing.add_word_timestamps(
            segments=[plain],
            model=digits,
            tokenizer=tokenizer,
            mel=mel,
            num_frames=n,
            last_speech_timestamp=0.0,
            nonsense=5,
        )
    timing.add_word_timestamps(
        segments=[], model=digits, tokenizer=tokenizer, mel=mel, num_frames=n, last_speech_timestamp=0.0
    )


def test_punctuation_is_merged_in_place() -> None:
    words = [timing.WordTiming(text, [i], 0.0, 1.0, 1.0) for i, text in enumerate([" (", " one", ",", " two"])]
    timing.merge_punctuations(words, "(", ",")
    assert [word.word for word in words] == ["", " ( one,", "", " two"]
    assert words[1].tokens == [0, 1, 2]


def test_paths() -> None:
    cost = np.random.default_rng(0).random((7, 11)).astype(np.float32)
    path = timing.dtw(Tensor(cost))
    np.testing.assert_array_equal(timing.dtw_cpu(cost), path)
    assert path[:, 0].tolist() == [0, 0]
    assert path[:, -1].tolist() == [6, 10]
    # the steps that lead to the path's cells, as `backtrace` reads them
    trace = np.full((8, 12), 5)
    for (i, j), (k, m) in zip(path.T[1:], path.T, strict=False):
        trace[i + 1, j + 1] = 0 if i > k and j > m else 1 if i > k else 2
    trace[1, 1] = 0
    np.testing.assert_array_equal(timing.backtrace(trace), path)
    with pytest.raises(ValueError, match="must be 0, 1 or 2"):
        timing.backtrace(np.full((3, 3), 7))
    with pytest.raises(OptionError, match="GPU"):
        timing.dtw_cuda(cost)


def test_median_filter() -> None:
    np.testing.assert_array_equal(timing.median_filter(Tensor(np.array([1.0, 5, 2, 3])), 3), [5, 2, 3, 2])
