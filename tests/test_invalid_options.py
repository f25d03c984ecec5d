"""Invalid options of every public function and of the command: errors that name the option, before anything is read."""

import argparse
import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest

import whisper_apr
from encoded import faster
from entry_points import WITH_OPTIONS
from recordings import DATA
from whisper_apr import BatchedInferencePipeline, LiveTranscriber, VadOptions, WhisperModel
from whisper_apr.cli import main, make_parser
from whisper_apr.errors import OptionError, WhisperAprError


class Read(Exception):
    """Raised once the options were accepted and the recording is read."""


class Unread:
    """A recording or a spectrogram that raises Read when it is used."""

    def __iter__(self):
        raise Read

    @property
    def ndim(self):
        raise Read


@pytest.fixture(scope="module")
def entry_points(model) -> dict[str, Callable[..., Any]]:
    """Return functions of options that raise Read once the options were accepted."""

    def live(**options):
        LiveTranscriber(model, **options)
        raise Read

    return {
        "transcribe": lambda **options: whisper_apr.transcribe(model, Unread(), **options),
        "transcribe_many": lambda **options: list(whisper_apr.transcribe_many(model, [Unread()], **options)),
        "decode": lambda **options: whisper_apr.decode(model, Unread(), **options),
        "WhisperModel": lambda **options: faster().transcribe(Unread(), **options),
        "Batched": lambda **options: BatchedInferencePipeline(faster()).transcribe(Unread(), **options),
        "live": live,
    }


def options_of(entry_point: str) -> list[str]:
    """The names of a function's options, from its signature."""
    skipped = ("self", "model", "audio", "audios", "mel", "options")
    return [name for name in inspect.signature(WITH_OPTIONS[entry_point]).parameters if name not in skipped]


JUNK = [
    *(object(), b"x", 1j, math.nan, math.inf, -math.inf, [], {}, "junk", "", True, -1.5, -1, 0, 2.5, 10**400, 10**9),
    *(np.array([1.0, 2.0]), np.array("x"), np.float64("nan"), [None], [[1]], ["a", 5], {"start": 1}, [{"start": 1}]),
    *(np.datetime64("2020"), [math.nan], [10**400], lambda: None, "1,2,x", "nan", "-5", [-5], Unread, "\0"),
]


@pytest.mark.parametrize("entry_point", ["transcribe", "transcribe_many", "decode", "WhisperModel", "Batched", "live"])
def test_any_value_is_accepted_or_an_option_error_that_names_the_option(entry_points, entry_point):
    """For every option, before the recording is read, and in one line."""
    # refused by name whatever the value, and therefore not in the signature
    unsupported = (
        ["clip_timestamps", "hallucination_filter", "initial_prefix", "speakers"] if entry_point == "live" else []
    )
    names = options_of(entry_point) + unsupported
    assert len(names) > 15
    for name in names:
        refused = 0
        for value in JUNK:
            with pytest.raises((Read, OptionError)) as caught:
                entry_points[entry_point](**{name: value})
            if caught.type is Read:
                continue
            refused += 1
            assert name in str(caught.value), (name, value)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 400
        assert refused >= 5, (entry_point, name)  # each option is checked


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"beam_size": "5"}, "beam_size"),
        ({"beam_size": True}, "beam_size"),
        ({"temperature": None}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"temperature": [0.0, None]}, "temperature"),
        ({"temperature": 1e-30}, "temperature"),
        ({"best_of": 2.5}, "best_of"),
        ({"best_of": "x", "temperature": 0.0}, "best_of"),
        ({"patience": "x"}, "patience"),
        ({"no_repeat_ngram_size": 2.0}, "no_repeat_ngram_size"),
        ({"repetition_penalty": math.inf}, "repetition_penalty"),
        ({"suppress_tokens": [51865]}, "suppress_tokens"),
        ({"suppress_tokens": [-2]}, "suppress_tokens"),
        ({"suppress_tokens": 5}, "suppress_tokens"),
        ({"hotwords": 5}, "hotwords"),
        ({"hotwords": [5]}, "hotwords"),
        ({"without_timestamps": "False"}, "without_timestamps"),
        ({"language": "klingon"}, "language"),
        ({"language": 5}, "language"),
        ({"task": ["transcribe"]}, "task"),
        ({"max_initial_timestamp": -1.0}, "max_initial_timestamp"),
        ({"prefix": 5}, "prefix"),
        ({"prefix": [51865]}, "prefix"),
    ],
    ids=str,
)
@pytest.mark.parametrize("entry_point", ["transcribe", "transcribe_many", "decode", "WhisperModel", "Batched", "live"])
def test_invalid_decoding_options(entry_points, entry_point, options, names):
    with pytest.raises(OptionError, match=names):
        entry_points[entry_point](**options)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"initial_prompt": 5}, "initial_prompt"),
        ({"initial_prompt": [51865]}, "initial_prompt"),
        ({"initial_prompt": ["one"]}, "initial_prompt"),
        ({"condition_on_previous_text": None}, "condition_on_previous_text"),
        ({"compression_ratio_threshold": "2.4"}, "compression_ratio_threshold"),
        ({"no_speech_threshold": math.nan}, "no_speech_threshold"),
        ({"batch_size": "4"}, "batch_size"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"word_timestamps": "yes"}, "word_timestamps"),
        ({"prepend_punctuations": None}, "prepend_punctuations"),
        ({"hallucination_silence_threshold": "2", "word_timestamps": True}, "hallucination_silence_threshold"),
        ({"language_detection_segments": 1.0}, "language_detection_segments"),
        ({"vad_filter": "on"}, "vad_filter"),
        ({"vad_parameters": 5}, "vad_parameters"),
        ({"vad_parameters": {"volume": 1}}, "volume"),
        ({"vad_parameters": {"treshold": 0.4}}, "did you mean 'threshold'"),
        ({"vad_parameters": {5: 1}}, "vad_parameters"),
        ({"vad_parameters": {"threshold": "0.5"}}, "threshold"),
        ({"vad_parameters": {"min_silence_duration_ms": math.nan}}, "min_silence_duration_ms"),
        ({"vad_parameters": {"speech_pad_ms": 10**400}}, "speech_pad_ms"),
    ],
    ids=str,
)
@pytest.mark.parametrize("entry_point", ["transcribe", "transcribe_many", "WhisperModel", "Batched"])
def test_invalid_transcribe_options(entry_points, entry_point, options, names):
    is_unknown = entry_point == "WhisperModel" and "batch_size" in options  # it is BatchedInferencePipeline's
    with pytest.raises(TypeError if is_unknown else OptionError, match=names):
        entry_points[entry_point](**options)


@pytest.mark.parametrize(
    "value",
    [
        0,
        5.0,
        "a",
        "1,",
        "1,,2",
        [None],
        ["0"],
        [-1.0],
        [math.nan],
        [math.inf],
        [3.0, 1.0],
        "3,1",
        {"start": 0, "end": 1},
        [{"start": 0}],
        [{"start": 2, "end": 1}],
        [{"start": 0, "end": 1, "text": ""}],
        np.array([[0.0, 1.0]]),
        {0.0, 1.0},
    ],
    ids=repr,
)
@pytest.mark.parametrize("entry_point", ["transcribe", "transcribe_many", "WhisperModel", "Batched"])
def test_invalid_clips(entry_points, entry_point, value):
    with pytest.raises(OptionError, match="clip_timestamps"):
        entry_points[entry_point](clip_timestamps=value)


@pytest.mark.parametrize(
    ("entry_point", "options", "names"),
    [
        ("live", {"nonsense": 1}, "nonsense"),
        ("live", {"step": "1"}, "step"),
        ("live", {"step": math.nan}, "step"),
        ("live", {"step": 0}, "step"),
        ("live", {"sampling_rate": "x"}, "sampling_rate"),
        ("live", {"vad_options": 5}, "vad_options"),
        ("live", {"vad_options": {"volume": 5}}, "volume"),
        ("live", {"word_timestamps": False}, "word_timestamps"),
        ("live", {"clip_timestamps": [0.0, 1.0]}, "clip_timestamps"),
        ("live", {"initial_prefix": "one"}, "initial_prefix"),
        ("live", {"initial_prompt": 5}, "initial_prompt"),
        ("live", {"batch_size": "4"}, "batch_size"),
        ("transcribe", {"nonsense": 1}, "nonsense"),
        ("transcribe", {"beamsize": 1}, "did you mean 'beam_size'"),
        ("transcribe", {"prompt": "x"}, "prompt"),
        ("transcribe", {"seed": "a"}, "seed"),
        ("transcribe", {"seed": -1}, "seed"),
        ("transcribe", {"languages": ["en", 5]}, "languages"),
        ("transcribe", {"languages": "en"}, "languages"),
        ("transcribe", {"initial_prefix": [50257]}, "initial_prefix"),
        ("transcribe", {"on_segment": 5}, "on_segment"),
        ("transcribe", {"on_progress": "x"}, "on_progress"),
        ("transcribe", {"check_cancelled": None}, "check_cancelled"),
        ("transcribe", {"verbose": "x"}, "verbose"),
        ("transcribe", {"sampling_rate": "16000"}, "sampling_rate"),
        ("transcribe", {"sampling_rate": math.nan}, "sampling_rate"),
        ("transcribe", {"channel": 1.0}, "channel"),
        ("transcribe", {"track": True}, "track"),
        ("transcribe", {"strict": "yes"}, "strict"),
        ("live", {"channel": "each"}, "each"),
        ("transcribe_many", {"independent_windows": "yes"}, "independent_windows"),
        ("transcribe_many", {"return_errors": 5}, "return_errors"),
        ("transcribe_many", {"batch_size": None}, "batch_size"),
        ("decode", {"nonsense": 1}, "nonsense"),
        ("decode", {"options": {"beam_size": 5}}, "options"),
        ("decode", {"prompt": 5}, "prompt"),
        ("decode", {"prompt": [60000]}, "prompt"),
        ("WhisperModel", {"max_new_tokens": 0}, "max_new_tokens"),
        ("WhisperModel", {"log_prob_threshold": "x"}, "log_prob_threshold"),
        ("WhisperModel", {"chunk_length": "30"}, "chunk_length"),
        ("WhisperModel", {"patience": "x", "beam_size": 1}, "patience"),
        ("WhisperModel", {"log_progress": "x"}, "log_progress"),
        ("Batched", {"batch_size": None}, "batch_size"),
    ],
)
def test_invalid_options_of_one_function(entry_points, entry_point, options, names):
    with pytest.raises(OptionError, match=names):
        entry_points[entry_point](**options)


def test_transcribe_many_refuses_a_single_recording(model):
    for wrong in ("one.wav", b"RIFF", 5, None):
        with pytest.raises(OptionError, match="audios"):
            model.transcribe_many(wrong)


@pytest.mark.parametrize(
    "options",
    [
        *({"cpu_threads": value} for value in ("4", 2.0, -1, 10**10)),
        *({"device_index": value} for value in ("0", -1, [], [0.5])),
        *({"num_workers": value} for value in ("1", 0)),
        *({"compute_type": value} for value in ("int3", 5, [])),
        *({"device": value} for value in ("cuda", 5, [])),
        *({"download_root": value} for value in (5, b"x")),
        *({"local_files_only": value} for value in ("no", None)),
        {"revision": 5},
        {"files": {"a": b""}},
        {"model_size_or_path": 5},
        {"model_size_or_path": None},
    ],
    ids=str,
)
def test_invalid_arguments_of_a_model(options):
    (name,) = options
    with pytest.raises(OptionError, match="name" if name == "model_size_or_path" else name):
        WhisperModel(**({"model_size_or_path": "digits"} | options))


@pytest.mark.parametrize("field", [f.name for f in fields(VadOptions)])
def test_vad_options_accept_numbers_only(field):
    default = getattr(VadOptions(), field)
    for value in ("1", True, math.nan, -1, [1], 10**400):
        with pytest.raises(OptionError, match=field):
            VadOptions(**{field: value})
    if isinstance(default, int):
        assert type(getattr(VadOptions(**{field: np.int16(300)}), field)) is int
    else:
        assert getattr(VadOptions(**{field: np.float32(1.0)}), field) == 1.0


# ---- the command ----------------------------------------------------------------------------------------------------


def flags(command: str) -> list[str]:
    (subparsers,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions = subparsers.choices[command]._actions
    return [
        next(s for s in a.option_strings if s.startswith("--"))
        for a in actions
        if a.option_strings and a.dest != "help"
    ]


@pytest.mark.parametrize("command", ["transcribe", "live"])
def test_any_value_of_a_flag_is_accepted_or_a_usage_error(command, monkeypatch, capsys, tmp_path):
    """A usage error is one line with exit status 2, before the model is opened, which exits with status 1 here."""

    def stop(_):
        raise WhisperAprError("the options were taken")

    opener = {"transcribe": "transcription_run", "live": "live"}[command]
    monkeypatch.setattr(f"whisper_apr.cli.{opener}.model_from_args", stop)
    monkeypatch.setattr("whisper_apr.cli.make_parser", cache(make_parser))  # made once for hundreds of calls
    monkeypatch.chdir(tmp_path)
    source = {"transcribe": [str(DATA / "en.wav")], "live": ["--input", "-"]}[command]
    opened = {"--model", "--model-dir", "--backend", "--compute-type"}  # checked when the model is opened
    any_text = {"--initial-prompt", "--initial-prefix", "--prefix", "--hotwords", "--output-dir"}
    any_text |= {"--prepend-punctuations", "--append-punctuations"}
    for flag in flags(command):
        statuses = []
        for value in ("junk", "-1", "nan", "inf", "1.5", "", "9" * 400, "None", "1,x", "5"):
            statuses.append(main([command, *source, f"{flag}={value}"]))
            _, err = capsys.readouterr()
            assert statuses[-1] in (0, 1, 2), (flag, value, err)
            if statuses[-1] == 2:
                assert err.count("\n") == 1, (flag, value, err)
        if flag not in opened | any_text:
            assert statuses.count(2) >= 3, (flag, statuses)
