"""The configuration of a realtime transcription session of OpenAI's API, in its current and its earlier form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import OptionError
from ..option_values import parse, sequence, text
from .errors import ApiError, bad_parameter
from .parameters import MAX_KEYWORDS, Checker, vad_parameters

RATE = 24_000  # Hz, of the samples of OpenAI's API

# seconds of new speech between two transcriptions of an utterance, by OpenAI's names
DELAYS = {"minimal": 0.5, "low": 1.0, "medium": 1.5, "high": 2.5, "xhigh": 4.0}

TURN_DETECTION = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}

# settings that belong to a conversation with a model that answers; in a transcription, they can only be off
_OF_ANSWERS = ("create_response", "interrupt_response", "idle_timeout_ms")


@dataclass(frozen=True)
class SessionConfig:
    """The configuration of a session.

    Attributes:
        transcription: OpenAI's object `transcription`: the model, and what helps it.
        turn_detection: OpenAI's object `server_vad`; None if the client says where utterances end.
        is_beta: The client uses the earlier form of the API, `transcription_session.update`.
    """

    transcription: Mapping[str, Any] = field(default_factory=dict)
    turn_detection: Mapping[str, Any] | None = field(default_factory=lambda: dict(TURN_DETECTION))
    is_beta: bool = False

    def as_json(self, session_id: str) -> dict[str, Any]:
        """Return the object `session` of a server's event."""
        transcription, turn_detection = dict(self.transcription), self.turn_detection and dict(self.turn_detection)
        if self.is_beta:
            return {
                "id": session_id,
                "object": "realtime.transcription_session",
                "input_audio_format": "pcm16",
                "input_audio_transcription": transcription,
                "turn_detection": turn_detection,
            }
        audio = {
            "format": {"type": "audio/pcm", "rate": RATE},
            "noise_reduction": None,
            "transcription": transcription,
            "turn_detection": turn_detection,
        }
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {"input": audio},
            "include": None,
        }

    def live_options(self) -> dict[str, Any]:
        """Return the options of LiveTranscriber."""
        names = {"language": "language", "languages": "languages", "prompt": "initial_prompt", "keywords": "hotwords"}
        given = self.transcription
        options = {option: given[name] for name, option in names.items() if given.get(name)}
        options["step"] = DELAYS[given.get("delay") or "low"]
        if self.turn_detection is not None:
            options["vad_options"] = vad_parameters(self.turn_detection)
        return options


def updated(config: SessionConfig, session: Any, checker: Checker) -> SessionConfig:
    """Return the configuration after an event `session.update`.

    Args:
        config: The configuration before.
        session: The event's object `session`; what it does not have stays as it was.
        checker: Knows the model.

    Raises:
        ApiError: A value is not allowed, or asks for what the server does not have.
    """
    given = _mapping("session", session)
    if given.get("type", "transcription") != "transcription":
        raise bad_parameter(
            "session.type", "this server has transcription sessions only: the type must be transcription"
        )
    _refuse_others("session", given, ("type", "audio", "include", "id", "object", "expires_at"))
    audio = _mapping("session.audio", given.get("audio"))
    _refuse_others("session.audio", audio, ("input",))
    sound = _mapping("session.audio.input", audio.get("input"))
    _refuse_others("session.audio.input", sound, ("format", "noise_reduction", "transcription", "turn_detection"))
    form = _mapping("session.audio.input.format", sound.get("format"))
    if form.get("type", "audio/pcm") != "audio/pcm" or form.get("rate", RATE) != RATE:
        raise bad_parameter("session.audio.input.format", f"the format must be audio/pcm with the rate {RATE}")
    return _changed(replace(config, is_beta=False), given, sound, checker)


def updated_beta(config: SessionConfig, session: Any, checker: Checker) -> SessionConfig:
    """Return the configuration after an event `transcription_session.update`, of the earlier form; see `updated`."""
    given = _mapping("session", session)
    known = {
        "input_audio_transcription": "transcription",
        "turn_detection": "turn_detection",
        "input_audio_noise_reduction": "noise_reduction",
    }
    _refuse_others("session", given, (*known, "input_audio_format", "include", "id", "object"))
    if given.get("input_audio_format", "pcm16") != "pcm16":
        raise bad_parameter("session.input_audio_format", "input_audio_format must be pcm16")
    sound = {name: given[beta] for beta, name in known.items() if beta in given}
    return _changed(replace(config, is_beta=True), given, sound, checker)


def _changed(
    config: SessionConfig, session: Mapping[str, Any], sound: Mapping[str, Any], checker: Checker
) -> SessionConfig:
    if session.get("include"):
        raise bad_parameter("session.include", "include is not supported in realtime sessions: words have no logprobs")
    if sound.get("noise_reduction") is not None:
        raise bad_parameter("session.audio.input.noise_reduction", "noise_reduction is not supported; leave it null")
    if "transcription" in sound:
        given = _mapping("transcription", sound["transcription"])
        config = replace(config, transcription={**config.transcription, **_checked(given, checker)})
    if "turn_detection" in sound:
        config = replace(config, turn_detection=_turn_detection(config, sound["turn_detection"]))
    return config


def _checked(given: Mapping[str, Any], checker: Checker) -> Mapping[str, Any]:
    """Return the object `transcription` if all of its values are allowed. Raises ApiError."""
    _refuse_others("transcription", given, ("model", "language", "languages", "prompt", "keywords", "delay"))
    try:
        if given.get("model") is not None:
            checker.check_model_id(parse("model", text, given["model"]))
        if given.get("language") is not None:
            checker.language(parse("language", text, given["language"]))
        for name in ("languages", "keywords"):
            kind = sequence(text, f"a list of at most {MAX_KEYWORDS} texts")
            if len(parse(name, kind, given.get(name) or ())) > MAX_KEYWORDS:
                raise OptionError(f"{name} may be {MAX_KEYWORDS} at most")
        for language in given.get("languages") or ():
            checker.language(language)
        parse("prompt", text, given.get("prompt") or "")
        if given.get("delay") is not None and given["delay"] not in DELAYS:
            raise OptionError(f"delay must be one of {', '.join(DELAYS)}")
    except OptionError as error:
        raise bad_parameter("transcription", str(error)) from None
    return given


def _turn_detection(config: SessionConfig, value: Any) -> Mapping[str, Any] | None:
    if value is None:
        return None
    given = _mapping("turn_detection", value)
    if given.get("type", "server_vad") != "server_vad":
        raise bad_parameter("turn_detection", "turn_detection must be null or of the type server_vad")
    for name in _OF_ANSWERS:
        if given.get(name):
            raise bad_parameter("turn_detection", f"{name} is not supported: a transcription has no answers")
    kept = {name: number for name, number in given.items() if name not in _OF_ANSWERS and number is not None}
    merged = {**TURN_DETECTION, **(config.turn_detection or {}), **kept}
    try:
        vad_parameters(merged)
    except OptionError as error:
        raise bad_parameter("turn_detection", str(error)) from None
    return merged


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_parameter(name, f"{name} must be an object")
    return value


def _refuse_others(name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key, value in given.items():
        if key not in known and value is not None:
            raise ApiError(400, f"unknown parameter {name}.{key[:100]}", param=name, code="unknown_parameter")
