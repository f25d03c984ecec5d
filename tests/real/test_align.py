"""Alignment of known texts with recordings of people: near known word times, and in long joined recordings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invariants import check_segments
from whisper_apr import Alignment, Recognizer, load_audio
from whisper_apr.audio import SAMPLE_RATE

Spans = list[tuple[str, float, float]]  # characters of the words, one by one, with the start and end of their word


def _characters(words: list[Any]) -> Spans:
    """Return the letters of words, which may be divided differently, as those of Japanese are."""
    return [
        (character, word["start"], word["end"])
        for word in words
        for character in word["word"].casefold()
        if character.isalnum()
    ]


def _errors(true: list[dict[str, Any]], found: Alignment) -> tuple[list[float], list[float]]:
    """Return the errors of the starts and of the ends, in seconds, of words whose text is that of the recording."""
    letters, at = _characters(list(found.words)), 0
    starts, ends = [], []
    for word in true:
        n = sum(map(str.isalnum, word["word"]))
        spelled = "".join(c for c, _, _ in letters[at : at + n])
        assert spelled == "".join(filter(str.isalnum, word["word"].casefold()))
        starts.append(abs(letters[at][1] - word["start"]))
        ends.append(abs(letters[at + n - 1][2] - word["end"]))
        at += n
    return starts, ends


def test_words_are_near_the_true_times(base: Recognizer, recordings: Path, texts: dict[str, dict[str, Any]]) -> None:
    starts: list[float] = []
    ends: list[float] = []
    for name, about in texts.items():
        if about["words"]:
            found = base.align(recordings / name, about["text"], language=about["language"])
            assert not found.skipped
            for errors, more in zip((starts, ends), _errors(about["words"], found), strict=True):
                errors += more
    figures = [np.quantile(starts, [0.5, 0.95]), np.quantile(ends, [0.5, 0.9])]
    print(len(starts), "words; starts: median, 95 %; ends: median, 90 %:", np.round(figures, 3).tolist())
    assert len(starts) > 50
    assert np.all(figures[0] <= [0.05, 0.2])
    assert np.all(figures[1] <= [0.06, 0.15])


@pytest.fixture(scope="module")
def joined(recordings: Path, texts: dict[str, dict[str, Any]]) -> list[tuple[str, np.ndarray]]:
    """English texts with their recordings, two minutes altogether."""
    names = [n for n, about in texts.items() if about["language"] == "en" and not n.startswith(("az", "LDC"))]
    parts = [(texts[name]["text"], load_audio(recordings / name)) for name in names]
    return parts + parts[::-1]


def _check(found: Alignment, lines: list[tuple[str, float, float]]) -> None:
    """Check that each line begins and ends in its recording, or at most in the pause before or after it."""
    assert [s.text.split() for s in found.segments] == [text.split() for text, _, _ in lines]
    check_segments(found.segments, found.duration)
    starts = [segment.start - start for segment, (_, start, _) in zip(found.segments, lines, strict=True)]
    ends = [segment.end - end for segment, (_, _, end) in zip(found.segments, lines, strict=True)]
    print("lines begin", np.round(starts, 2).tolist(), "end", np.round(ends, 2).tolist(), "s after their recordings")
    assert all(-0.6 < seconds < 1.5 for seconds in starts)
    assert all(-1.5 < seconds < 0.6 for seconds in ends)


def test_joined_recordings_with_a_line_that_is_not_spoken_and_speech_without_text(
    base: Recognizer, joined: list[tuple[str, np.ndarray]]
) -> None:
    unspoken, untold = 4, 11  # the text of one is not spoken, that of the other is not given
    sound, lines, at, hole = [], [], 0.0, (0.0, 0.0)
    for i, (text, samples) in enumerate(joined):
        if i == unspoken:
            continue
        length = len(samples) / SAMPLE_RATE
        if i == untold:
            hole = (at, at + length)
        else:
            lines.append((text, at, at + length))
        sound.append(samples)
        at += length
    assert at > 100
    text = "\n".join(text for i, (text, _) in enumerate(joined) if i != untold)
    found = base.align(np.concatenate(sound), text, language="en")
    print("skipped", [w.word for w in found.skipped], "added", found.added)
    skipped = " ".join(word.word.strip() for word in found.skipped).split()
    missing = joined[unspoken][0].split()
    assert len(set(missing) & set(skipped)) > 0.8 * len(set(missing))
    assert len(skipped) <= len(missing) + 3
    longest = max(found.added, key=lambda part: part.end - part.start)
    assert hole[0] - 0.5 < longest.start < longest.end < hole[1] + 0.5
    assert longest.end - longest.start > 0.7 * (hole[1] - hole[0])
    _check(found, lines)
