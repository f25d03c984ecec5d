"""The tables and the JSON file of `whisper-apr eval`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from .. import __version__
from ..bench.measure import table
from ..evaluation import (
    Agreement,
    EditCounts,
    Reliability,
    Score,
    TokenAgreement,
    assess,
    rate_interval,
    summarize,
)
from .terminal import printable

Unit = Literal["words", "characters"]
UNITS: tuple[Unit, ...] = ("words", "characters")
Row = Sequence[object]

ERRORS = ("unit", "count", "substituted", "deleted", "inserted", "errors, %")
RELIABILITY = ("of", "probability", "words", "mean", "right, %")
CALIBRATION = ("of", "words", "calibration error, %", "best power", "error with it, %")
AGREEMENT = ("tokens", "count", "same, %", "divergence, nats")


class Report:
    """What is printed and written of an evaluation.

    Args:
        scores: Of each type, the scores of the same recordings in the same order.
    """

    def __init__(self, scores: Mapping[str, Sequence[Score]]) -> None:
        self._scores = scores
        self._first = next(iter(scores.values()))  # the type that the others are compared with

    # ---- tables ------------------------------------------------------------------------------------------------

    def recordings(self) -> str:
        """Return the table of the errors in each recording."""
        rows: list[Row] = []
        for of_recording in zip(*self._scores.values(), strict=True):
            for name, score in zip(self._scores, of_recording, strict=True):
                rows.append((printable(score.recording.label), name, *_error_row(score.unit, score.edits)))
        return table(("recording", "type", *ERRORS), rows)

    def languages(self) -> str:
        """Return the table of the errors in each language."""
        rows: list[Row] = []
        for language in sorted({score.recording.language or "" for score in self._first}):
            for name, scores in self._scores.items():
                chosen = [score for score in scores if score.recording.language == language]
                rows += [
                    (language, name, len(chosen), *_error_row(unit, edits)) for unit, edits in _edits_by_unit(chosen)
                ]
        return table(("language", "type", "recordings", *ERRORS), rows)

    def totals(self) -> str:
        """Return the table of all errors and, if there is a reference, that of the agreement with it."""
        errors: list[Row] = []
        agreements: list[Row] = []
        for name, scores in self._scores.items():
            for unit, edits in _edits_by_unit(scores):
                interval, change = self._intervals(scores, unit)
                errors.append((name, len(scores), *_error_row(unit, edits), _range(interval), _range(change, "+")))
            if (agreement := summarize(scores).agreement) is not None:
                agreements += [(name, *_agreement_row(kind, tokens)) for kind, tokens in _kinds(agreement).items()]
        head = ["type", "recordings", *ERRORS, "95 %", f"change from {next(iter(self._scores))}, 95 %"]
        if len(self._scores) == 1:  # nothing has changed
            head, errors = head[:-1], [row[:-1] for row in errors]
        text = table(head, errors)
        return f"{text}\n\n{table(('type', *AGREEMENT), agreements)}" if agreements else text

    def reliability(self) -> str:
        """Return the tables of how often words of each probability are right; empty without the times of words."""
        bins: list[Row] = []
        errors: list[Row] = []
        for name, scores in self._scores.items():
            for kind, found in _assessed(scores).items():
                used = [each for each in found.bins if each.count]
                for each in used:
                    between, mean = f"{each.low:.1f} to {each.high:.1f}", f"{each.probability:.2f}"
                    bins.append((name, kind, between, each.count, mean, _percent(each.right)))
                if used:
                    power = f"{found.exponent:.2f}"
                    n, error = sum(each.count for each in used), _percent(found.error)
                    errors.append((name, kind, n, error, power, _percent(found.held_out_error)))
        if not bins:
            return ""
        return f"{table(('type', *RELIABILITY), bins)}\n\n{table(('type', *CALIBRATION), errors)}"

    def _intervals(
        self, scores: Sequence[Score], unit: Unit
    ) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """Return the intervals of an error rate, and of its difference from the first type's, which has none."""
        edits = [score.edits for score in scores if score.unit == unit]
        first = [score.edits for score in self._first if score.unit == unit]
        return rate_interval(edits), None if scores is self._first else rate_interval(edits, first)

    # ---- JSON --------------------------------------------------------------------------------------------------

    def as_json(self, about: Mapping[str, object]) -> bytes:
        """Return the content of the JSON file.

        Args:
            about: Entries that precede the scores.
        """
        types = {
            name: {
                **{unit: self._total(scores, unit) for unit in UNITS},
                "languages": self._languages(scores),
                "agreement": _agreement(summarize(scores).agreement),
                "reliability": {kind: _reliability(found) for kind, found in _assessed(scores).items()},
                "recordings": [_recording(score) for score in scores],
            }
            for name, scores in self._scores.items()
        }
        content = {"whisper_apr": __version__, **about, "types": types}
        return f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode("utf-8", "replace")

    def _total(self, scores: Sequence[Score], unit: Unit) -> dict[str, Any]:
        interval, change = self._intervals(scores, unit)
        return _edits(getattr(summarize(scores), unit)) | {"interval": interval, "change": change}

    def _languages(self, scores: Sequence[Score]) -> dict[str, Any]:
        languages = sorted({score.recording.language or "" for score in scores})
        by_language = {code: [each for each in scores if each.recording.language == code] for code in languages}
        return {
            code: {unit: _edits(edits) for unit, edits in _edits_by_unit(chosen)}
            for code, chosen in by_language.items()
        }


def _edits_by_unit(scores: Sequence[Score]) -> list[tuple[Unit, EditCounts]]:
    """Return the errors in each unit that occurs; those in words, which are none, if there are no recordings."""
    total = summarize(scores)
    used = {score.unit for score in scores} or {"words"}
    return [(unit, getattr(total, unit)) for unit in UNITS if unit in used]


def _assessed(scores: Sequence[Score]) -> dict[str, Reliability]:
    """Return the reliability of words and segments."""
    return {kind: assess([getattr(score, kind) for score in scores]) for kind in ("words", "segments")}


def _reliability(found: Reliability) -> dict[str, Any]:
    return asdict(found) | {"bins": [asdict(each) for each in found.bins if each.count]}


def _kinds(agreement: Agreement) -> dict[str, TokenAgreement]:
    return {"all": agreement.total, "text": agreement.text, "timestamps": agreement.timestamps}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _range(interval: tuple[float, float] | None, sign: Literal["", "+"] = "") -> str:
    """Return an interval in percent, with plus signs if wanted."""
    return "" if interval is None else " to ".join(f"{100 * limit:{sign}.2f}" for limit in interval)


def _error_row(unit: str, edits: EditCounts) -> Row:
    return unit, edits.n_reference, edits.substitutions, edits.deletions, edits.insertions, _percent(edits.rate)


def _agreement_row(kind: str, tokens: TokenAgreement) -> Row:
    mean = tokens.mean_divergence
    return kind, tokens.n_token, _percent(tokens.top_1), "" if mean is None else f"{mean:.5f}"


def _edits(edits: EditCounts) -> dict[str, Any]:
    return asdict(edits) | {"errors": edits.errors, "rate": edits.rate}


def _recording(score: Score) -> dict[str, Any]:
    return {
        "file": score.recording.label,
        "language": score.recording.language,
        "reference": score.recording.text,
        "text": score.text,
        "unit": score.unit,
        **_edits(score.edits),
        "agreement": _agreement(score.agreement),
    }


def _agreement(agreement: Agreement | None) -> dict[str, Any] | None:
    if agreement is None:
        return None
    return {
        kind: {
            "n_token": tokens.n_token,
            "n_same": tokens.n_same,
            "top_1": tokens.top_1,
            "divergence": tokens.mean_divergence,
        }
        for kind, tokens in _kinds(agreement).items()
    }
