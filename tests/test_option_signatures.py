"""Signatures, keywords and descriptions of the functions with options: the same as the dataclasses of options."""

import inspect
import re
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

import whisper_apr
from entry_points import WITH_OPTIONS
from whisper_apr import (
    BatchedInferencePipeline,
    DecodingOptions,
    LineOptions,
    LiveOptions,
    Recognizer,
    VadOptions,
    WhisperModel,
)
from whisper_apr.audio import ReadingOptions
from whisper_apr.inference.keywords import (
    AlignKeywords,
    DecodeKeywords,
    LiveKeywords,
    OptionKeywords,
    ReadingKeywords,
    TranscribeKeywords,
)
from whisper_apr.inference.options import TranscribeOptions
from whisper_apr.inference.transcribe_many import TranscribeManyKeywords
from whisper_apr.option_docs import documented


def hints(source: Any) -> dict[str, Any]:
    """Types of a class's fields or of a function's parameters, without the kinds that annotate them."""
    found = get_type_hints(source)
    return {name: found[name] for name in inspect.signature(source).parameters if name in found}


def plain(types: dict[str, Any]) -> dict[str, str]:
    """The types as text, without NumPy's numbers, which parameters accept beside Python's."""
    return {name: re.sub(r" \| numpy\.\w+\[typing\.Any\]|<class '|'>", "", str(hint)) for name, hint in types.items()}


WINDOW_HINTS = {name: hint for name, hint in hints(DecodingOptions).items() if name not in ("temperature", "prompt")}


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        (DecodeKeywords, hints(DecodingOptions)),
        (OptionKeywords, hints(TranscribeOptions) | WINDOW_HINTS),
        (ReadingKeywords, hints(ReadingOptions)),
    ],
)
def test_keywords_are_the_fields_of_the_options(keywords, expected):
    assert plain(get_type_hints(keywords)) == plain(expected)


def test_keywords_of_live_audio_are_those_of_recordings_without_positions():
    """And without `word_timestamps`, which is always True."""
    known = get_type_hints(OptionKeywords)
    assert get_type_hints(LiveKeywords) == {
        name: known[name]
        for name in known
        if name not in ("clip_timestamps", "hallucination_filter", "initial_prefix", "speakers", "word_timestamps")
    }


@pytest.mark.parametrize(
    ("method", "function", "keywords"),
    [
        (Recognizer.transcribe, whisper_apr.transcribe, TranscribeKeywords),
        (Recognizer.align, whisper_apr.align, AlignKeywords),
        (Recognizer.transcribe_many, whisper_apr.transcribe_many, TranscribeManyKeywords),
        (Recognizer.decode, whisper_apr.decode, None),
        (Recognizer.detect_language, whisper_apr.detect_language, None),
    ],
)
def test_methods_have_the_signature_of_the_function(method, function, keywords):
    """And the keywords that type checkers see are the parameters of the signature."""
    first, *own = inspect.signature(method).parameters.values()
    assert first.name == "self"
    assert own == list(inspect.signature(function).parameters.values())[1:]
    assert method.__doc__ == function.__doc__
    accepted = method.__code__.co_varnames[: method.__code__.co_argcount]
    if keywords is None:
        assert set(accepted) >= {p.name for p in own if p.kind is not p.KEYWORD_ONLY}
    else:
        declared = get_type_hints(keywords)
        keyword_only = {p.name: p.annotation for p in own if p.kind is p.KEYWORD_ONLY}
        keyword_only.pop("return_errors", None)
        assert plain(declared) == plain(keyword_only)


def test_parameters_of_the_batched_pipeline_are_those_of_the_model():
    """In the same order, with the same types and, but for four, the same defaults. `batch_size` is added."""
    model, batched = (inspect.signature(cls.transcribe).parameters for cls in (WhisperModel, BatchedInferencePipeline))
    assert [name for name in batched if name != "batch_size"] == list(model)
    others = {"without_timestamps": True, "vad_filter": True, "clip_timestamps": None}
    for name, parameter in model.items():
        expected = parameter.replace(default=others.get(name, parameter.default))
        assert batched[name] == expected


@pytest.mark.parametrize("entry_point", ["transcribe", "transcribe_many", "decode", "live"])
def test_defaults_are_those_of_the_options(entry_point):
    """The signature shows them. faster-whisper's methods have defaults of their own."""
    defaults = {
        name: parameter.default
        for options in (DecodingOptions, TranscribeOptions, ReadingOptions, LiveOptions)
        for name, parameter in inspect.signature(options).parameters.items()
    }
    defaults |= {"temperature": 0.0} if entry_point == "decode" else {}
    defaults |= {"batch_size": 8} if entry_point == "transcribe_many" else {}
    compared = 0
    for name, parameter in inspect.signature(WITH_OPTIONS[entry_point]).parameters.items():
        if name in defaults:
            assert parameter.default == defaults[name], name
            compared += 1
    assert compared > 15


@pytest.mark.parametrize("entry_point", WITH_OPTIONS)
def test_help_describes_every_parameter(entry_point):
    described = re.findall(r"(?m)^    (\w+): [A-Z0-9\"].", inspect.getdoc(WITH_OPTIONS[entry_point]) or "")
    parameters = {name for name in inspect.signature(WITH_OPTIONS[entry_point]).parameters if name != "self"}
    assert len(described) == len(set(described))
    assert set(described) == parameters | (
        {"OptionError"} if entry_point in ("live", "decode") else {"AudioError", "OptionError"}
    )


@pytest.mark.parametrize(
    "options", [DecodingOptions, TranscribeOptions, LiveOptions, ReadingOptions, VadOptions, LineOptions]
)
def test_every_field_of_the_options_is_described(options):
    assert list(documented(options)) == [f.name for f in fields(options)]
