"""`audio_context="auto"` on short recordings of people: hardly more errors, in less time."""

import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from word_errors import edits, units

from whisper_apr import Recognizer, load_audio

pytestmark = pytest.mark.parity


def test_word_error_rate(
    base: Recognizer, texts: dict[str, Any], recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error rate is at most 0.5 percentage points higher than with the whole context."""
    n, errors, ratios = 0, {"full": 0, "auto": 0}, []
    for name, entry in texts.items():
        samples, seconds = load_audio(recordings / name), {}
        true = units(entry["text"], entry["language"])
        n += len(true)
        for context in errors:
            begin = time.process_time()
            text = base.transcribe(samples, language=entry["language"], audio_context=context, seed=0).text
            seconds[context] = time.process_time() - begin
            errors[context] += edits(true, units(text, entry["language"]))
        ratios.append(seconds["auto"] / seconds["full"])
    rate = {context: 100 * count / n for context, count in errors.items()}
    with capsys.disabled():
        rates = ", ".join(f"{context} {value:.1f} %" for context, value in rate.items())
        print(f"\naudio_context, errors in {n}: {rates}; median of the CPU times' ratios {median(ratios):.2f}")
    assert rate["auto"] <= rate["full"] + 0.5
    assert rate["full"] < 25  # otherwise the comparison would prove nothing
