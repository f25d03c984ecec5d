"""Measure models on recordings whose texts are known: errors of the text, and agreement with a more exact model.

`evaluate` transcribes recordings with one or more models and yields each one's scores; `summarize` adds them up.
`find_recordings` finds the recordings and texts of a folder. The command `whisper-apr eval` prints tables. `calibrate`
measures the inputs of a model's matrices, for quantizing it to int4 with less error.
"""

from .agreement import Agreement, TokenAgreement
from .calibration import calibrate
from .edits import EditCounts, count_edits, uses_characters, words_of
from .intervals import rate_interval
from .recordings import Recording, find_recordings
from .reliability import Bin, Judged, Reliability, assess, calibration_error, fit_exponent, reliability
from .scores import Score, Summary, evaluate, summarize

__all__ = [
    "Agreement",
    "Bin",
    "EditCounts",
    "Judged",
    "Recording",
    "Reliability",
    "Score",
    "Summary",
    "TokenAgreement",
    "assess",
    "calibrate",
    "calibration_error",
    "count_edits",
    "evaluate",
    "find_recordings",
    "fit_exponent",
    "rate_interval",
    "reliability",
    "summarize",
    "uses_characters",
    "words_of",
]
