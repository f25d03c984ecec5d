"""Decoding of windows: the effect of options, and batches that give the results of single windows."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import whisper_apr
from recordings import speech
from whisper_apr import DecodingOptions
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim
from whisper_apr.errors import OptionError
from whisper_apr.inference.decode import DecodingTask, Request
from whisper_apr.tokenizer import get_tokenizer

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def features(model):
    """Return features of four windows: English, Spanish, silence, a long text."""
    names = ("en.wav", "es.wav", "silence.flac", "en_long.flac")
    mels = [whisper_apr.log_mel_spectrogram(str(DATA / name), padding=480000)[:, :3000] for name in names]
    return model.embed_audio(np.stack(mels))


def essence(result):
    return result.tokens, result.text, result.language, result.avg_logprob, result.no_speech_prob


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beam_size": 3, "patience": 1.5, "length_penalty": 0.5},
        {"temperature": 0.7, "best_of": 3, "seed": 5},
        {"without_timestamps": True, "language": "en", "prompt": "one two"},
        {"task": "translate", "prefix": " five", "sample_len": 30},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    ],
)
def test_a_batch_equals_its_windows_alone(model, features, options):
    together = model.decode(features, DecodingOptions(**options))
    alone = [model.decode(window, DecodingOptions(**options)) for window in features]
    assert [essence(r) for r in together] == [essence(r) for r in alone]
    assert len({tuple(r.tokens) for r in together}) > 2


def test_prompts_of_different_lengths_in_one_batch(model, features):
    task = DecodingTask(model, DecodingOptions())
    requests = [
        Request(task.tokenizer.encode(" one two three"), "en"),
        Request((), "es"),
        Request([50, 60] * 200, "en"),
        Request(task.tokenizer.encode(" nine"), None),
    ]
    together = task.run(features, requests=requests)
    alone = [task.run(features[i : i + 1], requests=requests[i : i + 1])[0] for i in range(4)]
    assert [essence(r) for r in together] == [essence(r) for r in alone]


def test_hotwords_precede_the_prompt_unless_they_are_a_bias(model, features, prompts):
    tokenizer = get_tokenizer(True, language="en", num_languages=model.num_languages)
    hotwords, previous = tokenizer.encode(" seven eight"), tokenizer.encode(" one two")
    options = DecodingOptions(hotwords="seven eight", prompt="one two", language="en", sample_len=1)
    model.decode(features[0], options)
    model.decode(features[0], options, hotword_bias=2.0)
    begin = [tokenizer.sot_prev, *hotwords, *previous], [tokenizer.sot_prev, *previous]
    assert prompts == [(*part, *tokenizer.sot_sequence) for part in begin]


@pytest.mark.parametrize("n_hotword", [1, 100, 223, 300])
@pytest.mark.parametrize("n_prompt", [0, 123, 300])
def test_long_hotwords_keep_their_beginning_and_a_long_prompt_its_end(model, features, prompts, n_hotword, n_prompt):
    tokenizer = get_tokenizer(True, language="en", num_languages=model.num_languages)
    hotwords, previous = " seven" * n_hotword, list(range(n_prompt))
    model.decode(features[0], hotwords=hotwords, prompt=previous, language="en", sample_len=1)
    kept = tokenizer.encode(hotwords)[:223]
    kept += previous[max(0, n_prompt - 223 + len(kept)) :]
    assert len(kept) <= 223
    assert prompts == [(tokenizer.sot_prev, *kept, *tokenizer.sot_sequence)]


@pytest.mark.parametrize("more", [{}, {"beam_size": 3}, {"temperature": 0.6, "best_of": 3, "seed": 1}], ids=str)
@pytest.mark.parametrize("without_timestamps", [False, True])
def test_a_result_begins_with_the_prefix_of_its_request(model, features, more, without_timestamps):
    """Also in a batch with windows without a prefix, or with one of another length."""
    task = DecodingTask(model, DecodingOptions(without_timestamps=without_timestamps, **more))
    prefixes = [" three", "", " four nine eight", " three"]
    requests = [Request((), "en", tuple(task.tokenizer.encode(prefix))) for prefix in prefixes]
    together = task.run(features, requests=requests)
    alone = [task.run(features[i : i + 1], requests=requests[i : i + 1])[0] for i in range(4)]
    assert [essence(r) for r in together] == [essence(r) for r in alone]
    for result, request, prefix in zip(together, requests, prefixes, strict=True):
        assert result.text.startswith(prefix.strip())
        if prefix:
            begin = [] if without_timestamps else [task.tokenizer.timestamp_begin]
            assert result.tokens[: len(begin) + len(request.prefix)] == [*begin, *request.prefix]
    assert len(together[0].text) > len(prefixes[0])


def test_a_prefix_of_any_length(model, features):
    """The prefix of DecodingOptions is not in the result, and is cut to fit the context."""
    short = model.decode(features[0], prefix="nine", language="en")
    assert "nine" not in short.text
    for n in (400, 443, 444, 445, 1000):
        result = model.decode(features[0], prefix=[20] * n, prompt="one two", language="en")
        assert len(result.tokens) <= 448


def test_seeds(model, features):
    texts = [
        tuple(model.decode(features[3], temperature=1.0, seed=seed, without_timestamps=True).tokens)
        for seed in (1, 1, 2, 3)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_one_beam_is_greedy_search(model, features):
    assert model.decode(features[3], beam_size=1).tokens == model.decode(features[3]).tokens


def test_repetition_options(model, features):
    plain = model.decode(features[3], without_timestamps=True).tokens
    unrepeated = model.decode(features[3], without_timestamps=True, no_repeat_ngram_size=2).tokens
    pairs = list(pairwise(unrepeated))
    assert len(set(pairs)) == len(pairs)
    assert unrepeated != plain
    penalised = model.decode(features[3], without_timestamps=True, repetition_penalty=50.0).tokens
    assert len(set(penalised)) / len(penalised) > len(set(plain)) / len(plain)


def test_hotword_bias(model, features):
    assert "seven" not in model.decode(features[0]).text
    favored = model.decode(features[0], hotwords=["seven"], hotword_bias=30.0).text
    assert "seven" in favored
    assert model.decode(features[0], hotwords=["seven"], hotword_bias=0.0).text == model.decode(features[0]).text


def test_sample_len_and_suppressed_tokens(model, features):
    assert len(model.decode(features[3], sample_len=4).tokens) == 4
    one = model.decode(features[0]).tokens[1]
    assert one not in model.decode(features[0], suppress_tokens=[-1, one]).tokens


def test_an_empty_batch(model, features):
    assert model.decode(features[:0]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sing"}, "task"),
        ({"beam_size": 2, "best_of": 2, "temperature": 1.0}, "together"),
        ({"best_of": 2}, "temperature above 0"),
        ({"patience": 2.0}, "patience needs beam_size"),
        ({"beam_size": 1, "patience": 0.1}, "at least 1"),
        ({"length_penalty": 2.0}, "between 0 and 1"),
        ({"temperature": -1.0}, "0, or a number"),
        ({"temperature": float("nan")}, "0, or a number"),
        ({"repetition_penalty": 0.0}, "between 0.001 and 1000"),
        ({"no_repeat_ngram_size": -1}, "at least 0"),
        ({"beam_size": 0}, "at least 1"),
        ({"beam_size": 60000}, "at most 1000"),
        ({"hotword_bias": 2.0}, "needs hotwords"),
        ({"hotword_bias": 2.0, "hotwords": []}, "needs hotwords"),
        ({"sample_len": 0}, "at least 1"),
        ({"language": "klingon"}, "klingon"),
        ({"suppress_tokens": "1,x"}, "comma-separated"),
        ({"suppress_tokens": [51865]}, "51864"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_invalid_options(model, features, options, message):
    with pytest.raises(OptionError, match=message):
        model.decode(features[0], **options)


def test_is_cut(model):
    (window,) = model.embed_audio(pad_or_trim(log_mel_spectrogram(speech("en")), 3000)[None])
    for options in ({}, {"beam_size": 3}, {"temperature": 0.5, "best_of": 2, "seed": 1}):
        whole = model.decode(window, language="en", **options)
        assert not whole.is_cut
        for n in (1, len(whole.tokens)):
            found = model.decode(window, language="en", sample_len=n, **options)
            assert found.is_cut
        assert not model.decode(window, language="en", sample_len=len(whole.tokens) + 1, **options).is_cut
