"""The parameters of OpenAI's audio API, checked and converted to options of `transcribe`.

`TRANSCRIPTION` and `TRANSLATION` are the tables of parameters. A parameter that is not in its table is refused.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile

from ..audio import VadOptions
from ..errors import OptionError
from ..inference.language import check_language, tokenizer_of
from ..model import Whisper
from ..option_values import shown
from ..speakers.weights import load_diarizer
from ..spelling import did_you_mean
from ..tokenizer import TO_LANGUAGE_CODE
from .errors import ApiError, bad_parameter

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
STREAMED_FORMATS = ("json", "verbose_json", "diarized_json")
GRANULARITIES = ("word", "segment")
ALIAS = "whisper-1"  # OpenAI's name of a Whisper model, which stands for the model that is served
MAX_KEYWORDS = 100
MAX_VOICES = 4  # known speakers
MIN_TEMPERATURE = 1e-6  # a lower one chooses the most probable tokens, too

_NAME = re.compile(r"(\w+)(?:\[(\w*)\])?")  # `name`, `name[]` of a list, or `name[key]` of an object


@dataclass
class TranscriptionRequest:
    """What a request asks for.

    Attributes:
        task: "transcribe" or "translate".
        options: Options of `transcribe`.
        file: The upload.
        response_format: One of FORMATS.
        is_streamed: Whether to send the text as server-sent events.
        granularities: Which times verbose_json has.
        with_logprobs: Whether the response has the tokens' log-probabilities.
        speaker_names: Names of known speakers.
        speaker_references: Recordings of their voices.
    """

    task: str
    options: dict[str, Any]
    file: UploadFile | None = None
    response_format: str = "json"
    is_streamed: bool = False
    granularities: frozenset[str] = frozenset({"segment"})
    with_logprobs: bool = False
    speaker_names: tuple[str, ...] = ()
    speaker_references: tuple[bytes, ...] = ()


@dataclass
class _Given:
    """The values of one parameter: of `name`, of `name[]`, and of `name[key]` by their keys."""

    values: list[Any] = field(default_factory=list)
    by_key: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checker:
    """Checks parameters against a model."""

    model: Whisper
    model_id: str

    def check_model_id(self, name: str) -> None:
        """Raise ApiError if the model is not the one that is served."""
        if name not in (self.model_id, ALIAS):
            message = f"the model {shown(name)} does not exist; this server has {self.model_id!r}, also as {ALIAS!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    def languages(self) -> list[str]:
        """Return the codes and the English names of the languages that the model knows."""
        known = tokenizer_of(self.model).all_language_codes if self.model.is_multilingual else ("en",)
        return [*known, *(name for name, code in TO_LANGUAGE_CODE.items() if code in known)]

    def language(self, name: str) -> str:
        """Return the code of a language. Raises OptionError if the model does not know it."""
        return check_language(self.model, name)

    def parse(self, task: str, items: Iterable[tuple[str, Any]], options: Mapping[str, Any]) -> TranscriptionRequest:
        """Check the fields of a form.

        Args:
            task: "transcribe" or "translate".
            items: Names and values, which are text or uploads.
            options: Options of `transcribe` that apply to all requests.

        Raises:
            ApiError: A parameter is missing, unknown, not supported, or has a value that is not allowed.
        """
        table = TRANSCRIPTION if task == "transcribe" else TRANSLATION
        given = _by_name(items, table)
        for name in ("file", "model"):
            if name not in given:
                raise bad_parameter(name, f"the parameter {name} is missing", "missing_required_parameter")
        request = TranscriptionRequest(task, {**options, "task": task})
        if task == "translate" and not self.model.is_multilingual:
            raise bad_parameter("model", "this model knows English only and cannot translate")
        for name, values in given.items():
            try:
                table[name](self, request, name, values)
            except OptionError as error:
                raise bad_parameter(name, str(error)) from None
        _check_conflicts(request, given)
        if request.response_format == "diarized_json":
            voices = dict(zip(request.speaker_names, request.speaker_references, strict=True))
            request.options |= {"speakers": voices or True, "word_timestamps": True}
        return request


def _by_name(items: Iterable[tuple[str, Any]], table: Mapping[str, Any]) -> dict[str, _Given]:
    """Collect the values of each parameter. Raises ApiError for an unknown one."""
    given: dict[str, _Given] = {}
    for full_name, value in items:
        match = _NAME.fullmatch(full_name)
        name, key = match.groups() if match else (full_name, None)
        if name not in table or (key and name != "chunking_strategy"):
            message = f"unknown parameter {shown(full_name)}{did_you_mean(name, table)}"
            raise ApiError(400, message, param=full_name[:100], code="unknown_parameter")
        entry = given.setdefault(name, _Given())
        if not key:
            entry.values.append(value)
        elif key in entry.by_key:
            raise bad_parameter(name, f"{full_name} is given twice")
        else:
            entry.by_key[key] = value
    return given


def _check_conflicts(request: TranscriptionRequest, given: Mapping[str, _Given]) -> None:
    """Raise ApiError for parameters that do not go together."""
    if request.is_streamed and request.response_format not in STREAMED_FORMATS:
        formats = f"{', '.join(STREAMED_FORMATS[:-1])} or {STREAMED_FORMATS[-1]}"
        raise bad_parameter("stream", f"stream needs response_format {formats}, not {request.response_format}")
    if "timestamp_granularities" in given and request.response_format != "verbose_json":
        message = f"timestamp_granularities needs response_format verbose_json, not {request.response_format}"
        raise bad_parameter("timestamp_granularities", message)
    if request.with_logprobs and request.response_format != "json":
        raise bad_parameter("include", f"logprobs needs response_format json, not {request.response_format}")
    if len(request.speaker_names) != len(request.speaker_references):
        message = "each of known_speaker_names needs one of known_speaker_references, in the same order"
        raise bad_parameter("known_speaker_references", message)
    if request.speaker_names and request.response_format != "diarized_json":
        message = f"known_speaker_names needs response_format diarized_json, not {request.response_format}"
        raise bad_parameter("known_speaker_names", message)
    if "language" in given and "languages" in given:
        raise bad_parameter("languages", "language and languages cannot be given together")


# ---- one function for each parameter --------------------------------------------------------------------------------


def _one(name: str, given: _Given) -> str:
    """Return a parameter's only value, which is text."""
    if len(given.values) != 1 or given.by_key:
        raise bad_parameter(name, f"{name} must be given once")
    value = given.values[0]
    if not isinstance(value, str):
        raise bad_parameter(name, f"{name} must be text, not a file")
    return value


def _several(name: str, given: _Given, choices: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Return a parameter's values, which are text and among the choices."""
    for value in given.values:
        if not isinstance(value, str) or (choices and value not in choices):
            accepted = " or ".join(choices) if choices else "text"
            raise bad_parameter(name, f"{name} must be {accepted}, not {shown(value)}")
    return tuple(given.values)


def _choice(name: str, given: _Given, choices: tuple[str, ...]) -> str:
    value = _one(name, given)
    if value not in choices:
        raise bad_parameter(name, f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {shown(value)}")
    return value


def _file(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    if len(given.values) != 1 or not isinstance(given.values[0], UploadFile):
        raise bad_parameter(name, "file must be one upload, a part of the form with a file name")
    request.file = given.values[0]


def _model(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    checker.check_model_id(_one(name, given))


def _language(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    request.options["language"] = checker.language(_one(name, given))


def _languages(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    request.options["languages"] = tuple(map(checker.language, _several(name, given)))


def _prompt(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    request.options["initial_prompt"] = _one(name, given)


def _keywords(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    words = _several(name, given)
    if len(words) > MAX_KEYWORDS:
        raise bad_parameter(name, f"keywords may be {MAX_KEYWORDS} at most, not {len(words)}")
    request.options["hotwords"] = words


def _response_format(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    formats = FORMATS if request.task == "transcribe" else FORMATS[:-1]
    request.response_format = _choice(name, given, formats)
    if request.response_format == "diarized_json":
        load_diarizer()  # raises OptionError if its weights are not installed


def _speaker_names(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    names = _several(name, given)
    if len(names) > MAX_VOICES or len(set(names)) < len(names) or not all(each.strip() for each in names):
        raise bad_parameter(name, f"{name} must be up to {MAX_VOICES} different names")
    request.speaker_names = names


def _speaker_references(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    """Decode data URLs, `data:audio/wav;base64,...`."""
    voices = []
    for value in _several(name, given):
        head, _, body = value.partition(",")
        try:
            if not (head.startswith("data:") and head.endswith(";base64")):
                raise ValueError
            voices.append(b64decode(body, validate=True))
        except ValueError:
            raise bad_parameter(name, f"{name} must be data URLs, 'data:audio/wav;base64,...'") from None
    request.speaker_references = tuple(voices)


def _number(param: str, what: str, text: str, high: float, kind: type[int] | type[float] = float) -> float:
    """Return the number of 0 to `high` that `text` is; `what` names it in the error."""
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value <= high:
        number = "a whole number" if kind is int else "a number"
        raise bad_parameter(param, f"{what} must be {number} from 0 to {high:g}, not {shown(text)}")
    return value


def _temperature(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    """Sample at a temperature. 0 is the default: the temperature rises when a window's text fails the thresholds."""
    temperature = _number(name, name, _one(name, given), 1)
    if temperature:
        request.options["temperature"] = (max(temperature, MIN_TEMPERATURE),)


def _granularities(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    request.granularities = frozenset(_several(name, given, GRANULARITIES))
    request.options["word_timestamps"] = "word" in request.granularities


def _include(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    request.with_logprobs = bool(_several(name, given, ("logprobs",)))


def _stream(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    request.is_streamed = _choice(name, given, ("true", "false")) == "true"


# parameters of the object {"type": "server_vad", ...}: option of the voice activity filter, and largest value
_VAD: dict[str, tuple[str, float, type[int] | type[float]]] = {
    "threshold": ("threshold", 1, float),
    "prefix_padding_ms": ("speech_pad_ms", 60_000, int),
    "silence_duration_ms": ("min_silence_duration_ms", 60_000, int),
}


def _chunking_strategy(checker: Checker, request: TranscriptionRequest, name: str, given: _Given) -> None:
    """Leave out what is not speech."""
    strategy: Any = given.by_key or _one(name, given)
    if isinstance(strategy, str) and strategy != "auto":
        try:
            strategy = json.loads(strategy)
        except (ValueError, RecursionError):
            strategy = None
    if given.by_key and given.values:
        strategy = None
    if strategy != "auto" and not (isinstance(strategy, dict) and strategy.get("type") == "server_vad"):
        raise bad_parameter(name, 'chunking_strategy must be auto, or an object with the type "server_vad"')
    request.options["vad_filter"] = True
    if strategy != "auto":
        request.options["vad_parameters"] = vad_parameters(strategy)


def vad_parameters(strategy: Mapping[str, Any]) -> VadOptions:
    """Return the options of the voice activity filter for OpenAI's `server_vad` object.

    Raises:
        ApiError: A parameter is unknown, or has a value that OpenAI's API does not allow.
        OptionError: A value is not allowed.
    """
    found: dict[str, Any] = {}
    for key, value in strategy.items():
        if key == "type":
            continue
        if key not in _VAD:
            raise bad_parameter("chunking_strategy", f"unknown parameter {shown(key)} of server_vad")
        option, high, kind = _VAD[key]
        found[option] = _number("chunking_strategy", f"{key} of server_vad", str(value), high, kind)
    return VadOptions(**found)


_Parse = Callable[[Checker, TranscriptionRequest, str, _Given], None]

TRANSLATION: dict[str, _Parse] = {
    "file": _file,
    "model": _model,
    "prompt": _prompt,
    "response_format": _response_format,
    "temperature": _temperature,
}
TRANSCRIPTION: dict[str, _Parse] = TRANSLATION | {
    "chunking_strategy": _chunking_strategy,
    "include": _include,
    "keywords": _keywords,
    "known_speaker_names": _speaker_names,
    "known_speaker_references": _speaker_references,
    "language": _language,
    "languages": _languages,
    "stream": _stream,
    "timestamp_granularities": _granularities,
}
