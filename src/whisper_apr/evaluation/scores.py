"""Transcribe recordings whose texts are known, and count the errors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Unpack, overload

from ..audio import ReadingOptions
from ..errors import AudioError, OptionError
from ..inference.keywords import OptionKeywords, ReadingKeywords
from ..inference.language import check_model
from ..inference.transcribe import transcribe
from ..model import Whisper
from ..option_values import boolean, function, parse, shown
from ..tokenizer import to_language_code
from .agreement import Agreement, check_comparable, compare
from .edits import EditCounts, count_edits, uses_characters, words_of
from .recordings import Recording
from .reliability import Judged, judge_words

READING = ("sampling_rate", "channel", "track", "strict")  # options that are fields of ReadingOptions


class EvaluationKeywords(OptionKeywords, ReadingKeywords, total=False):
    """Options of `evaluate`: those of a transcription, and of reading a recording."""


@dataclass(frozen=True)
class Score:
    """What a model heard in a recording, and its errors.

    Attributes:
        recording: The recording. Its language is set, if need be to the one that was detected.
        text: The text that was heard.
        edits: The errors, in characters if the language is written without spaces.
        agreement: With the reference; None without one, and for the reference itself.
        words: With `word_timestamps`, the words' probabilities and whether they are right.
        segments: Likewise of the segments.
    """

    recording: Recording
    text: str
    edits: EditCounts
    agreement: Agreement | None = None
    words: tuple[Judged, ...] = ()
    segments: tuple[Judged, ...] = ()

    @property
    def unit(self) -> Literal["words", "characters"]:
        """What the errors are counted in."""
        return "characters" if uses_characters(self.recording.language or "") else "words"


@dataclass(frozen=True)
class Summary:
    """Scores of several recordings, added up.

    Attributes:
        n_recording: Their number.
        words: Errors in languages that are written with spaces.
        characters: Errors in the others.
        agreement: With the reference; None if no score has one.
    """

    n_recording: int = 0
    words: EditCounts = field(default_factory=EditCounts)
    characters: EditCounts = field(default_factory=EditCounts)
    agreement: Agreement | None = None


def summarize(scores: Iterable[Score]) -> Summary:
    """Add up the scores of one model."""
    total = Summary()
    for score in scores:
        agreement = total.agreement
        if score.agreement is not None:
            agreement = score.agreement + (agreement or Agreement())
        edits: dict[str, Any] = {score.unit: getattr(total, score.unit) + score.edits}
        total = replace(total, n_recording=total.n_recording + 1, agreement=agreement, **edits)
    return total


@overload
def evaluate(
    models: Mapping[str, Whisper],
    recordings: Iterable[Recording],
    *,
    reference: Whisper | None = None,
    return_errors: Literal[False] = False,
    check_cancelled: Callable[[], object] = lambda: None,
    **options: Unpack[EvaluationKeywords],
) -> Iterator[dict[str, Score]]: ...


@overload
def evaluate(
    models: Mapping[str, Whisper],
    recordings: Iterable[Recording],
    *,
    reference: Whisper | None = None,
    return_errors: bool,
    check_cancelled: Callable[[], object] = lambda: None,
    **options: Unpack[EvaluationKeywords],
) -> Iterator[dict[str, Score] | AudioError]: ...


def evaluate(
    models: Mapping[str, Whisper],
    recordings: Iterable[Recording],
    *,
    reference: Whisper | None = None,
    return_errors: bool = False,
    check_cancelled: Callable[[], object] = lambda: None,
    **options: Unpack[EvaluationKeywords],
) -> Iterator[dict[str, Score] | AudioError]:
    """Transcribe recordings with one or several models, and compare the texts with the true ones.

    Args:
        models: The models, from `load_model`, by any names.
        recordings: The recordings; `find_recordings` finds those of a folder. If a recording's language is known and
            the options have none, it is given to the models.
        reference: A more exact model of the same kind, usually the same one in float32, that the models are compared
            with token by token, see `Agreement`. None compares the texts only.
        return_errors: Whether to return the AudioError of a recording that cannot be read in place of its scores, and
            go on with the others. Otherwise it is raised.
        check_cancelled: Called before each token. What it raises ends the evaluation.
        **options: Options of `transcribe`, for all models.

    Returns:
        An iterator over the recordings; of each, the score of each model by its name.

    Raises:
        AudioError: A recording cannot be read, and `return_errors` is not given.
        OptionError: An option or an argument has a value that is not allowed, or a model lacks a recording's language.
            Wrong options are found at the first recording.
    """
    if not isinstance(models, Mapping):
        raise OptionError(f"models must be a dictionary of models by their names, not {shown(models)}")
    for name, model in models.items():
        check_model(model)
        if reference is not None:
            check_model(reference)
            check_comparable(reference, model, name)
    if not isinstance(recordings, Iterable):
        raise OptionError(f"recordings must be an iterable of Recordings, not {shown(recordings)}")
    parse("check_cancelled", function, check_cancelled)
    return_errors = parse("return_errors", boolean, return_errors)
    return _evaluate(models, recordings, reference, return_errors, check_cancelled, dict(options))


def _evaluate(
    models: Mapping[str, Whisper],
    recordings: Iterable[Recording],
    reference: Whisper | None,
    return_errors: bool,
    check_cancelled: Callable[[], object],
    options: dict[str, Any],
) -> Iterator[dict[str, Score] | AudioError]:
    for recording in recordings:
        if not isinstance(recording, Recording):
            raise OptionError(f"recordings must be Recordings, as find_recordings returns them, not {shown(recording)}")
        try:
            yield _scores(models, recording, reference, check_cancelled, dict(options))
        except AudioError as error:
            if not return_errors:
                raise
            yield error


def _scores(
    models: Mapping[str, Whisper],
    recording: Recording,
    reference: Whisper | None,
    check_cancelled: Callable[[], object],
    options: dict[str, Any],
) -> dict[str, Score]:
    given = options.get("language") or recording.language
    language = None if given is None else to_language_code(given)
    options |= {"language": language}  # None if it is to be detected
    found: dict[str, Score] = {}
    for name, model in models.items():
        result = transcribe(model, recording.path, check_cancelled=check_cancelled, **options)
        language = language or result.language  # the first model's, so that all texts are normalized alike
        edits = count_edits(words_of(recording.text, language), words_of(result.text, language))
        words, segments = judge_words(recording.text, result.segments, language)
        about = replace(recording, language=language)
        found[name] = Score(about, result.text, edits, words=tuple(words), segments=tuple(segments))
    compared = {name: model for name, model in models.items() if model is not reference}
    if reference is not None and compared:
        reading = ReadingOptions(**{name: options[name] for name in READING if name in options})
        options |= {"language": language}
        agreements = compare(reference, compared, recording.path, reading, check_cancelled, options)
        found |= {name: replace(found[name], agreement=agreement) for name, agreement in agreements.items()}
    return found
