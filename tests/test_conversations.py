"""Conversations with known turns, of the benchmark of diarization."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from conversations import NOISE, OVERLAP, RATE, conversation

PARTS = {name: [np.full(n, 0.1, np.float32) for n in (RATE, 3 * RATE)] for name in "abcdefgh"}


@pytest.mark.parametrize("n_speaker", [2, 8])
def test_turns_are_where_the_sound_is(n_speaker: int) -> None:
    samples, known = conversation(PARTS, n_speaker, 60.0, seed=1)
    assert len(samples) == 60 * RATE
    assert len(known.speakers) == n_speaker
    loud = np.zeros(len(samples), bool)
    for turn in known.turns:
        loud[round(turn.start * RATE) : round(turn.start * RATE) + round((turn.end - turn.start) * RATE)] = True
    assert (np.abs(samples[loud]) > 0.05).all()
    assert (np.abs(samples[~loud]) < 10 * NOISE).all()


def test_turns_overlap_but_not_those_of_one_speaker() -> None:
    _, known = conversation(PARTS, 3, 300.0, seed=2)
    overlaps = [a.end - b.start for a, b in pairwise(known.turns) if b.start < a.end]
    assert 5 < len(overlaps) < len(known.turns) / 2
    assert max(overlaps) <= OVERLAP[1]
    for speaker in known.speakers:
        own = [turn for turn in known.turns if turn.speaker == speaker]
        assert all(a.end < b.start for a, b in pairwise(own))


def test_everything_follows_from_the_seed() -> None:
    first, second, other = (conversation(PARTS, 4, 30.0, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1] != other[1]
