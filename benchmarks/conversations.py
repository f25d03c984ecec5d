"""Conversations of two to eight people with known turns, joined from recordings of one person each.

Voices are recordings of people and, if espeak-ng is installed, two synthetic ones. Each is cut into utterances at its
pauses. A conversation draws utterances of changing speakers; some begin before the last one has ended. Everything
follows from the seed.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whisper_apr import load_audio
from whisper_apr.audio.vad import speech_timestamps
from whisper_apr.speakers import Diarization, Turn

FloatArray = npt.NDArray[np.float32]

RATE = 16_000
# The recordings of a person in the folder that tests/real uses; the channel, if it is a stereo recording of two.
VOICES: dict[str, tuple[str, ...]] = {
    "linda": ("LJ001-0001.flac", "LJ001-0002.flac", "LJ001-0003.flac", "LJ001-0004.flac"),
    "kennedy": ("jfk.flac",),
    "librivox": ("sense_0870.wav", "sense_0880.wav", "sense_0920.wav"),
    "english": ("lp_test.wav",),
    "german": ("lp_test_de.wav",),
    "french": ("lp_test_fr.wav",),
    "japanese": ("lp_test_ja.wav",),
    "russian": ("ru.wav",),
    "narrator": ("az_aboutSpeechSdk.wav",),
    "katie": ("az_katie.wav",),
    "dictation": ("fw_hotwords.mp3",),
}
SYNTHETIC = {"espeak-ng 1": ("en-us+m3", "40"), "espeak-ng 2": ("en-gb+f2", "70")}  # voice and pitch
TEXT = (
    "The meeting begins at nine. Please bring the figures of the last two months. I have not read the report yet. "
    "We should talk about that on Monday. Who wrote the second chapter? Nobody told me about the change."
)
SPEECH = {"min_silence_duration_ms": 300, "speech_pad_ms": 30}  # of utterances
LONGEST = 8.0  # seconds of an utterance
SHORTEST = 0.8
OVERLAPPING = 0.2  # share of utterances that begin before the last one has ended
OVERLAP = (0.3, 1.5)  # seconds
PAUSE = (0.1, 1.2)
LOUDNESS = 0.05  # root mean square of an utterance
NOISE = 3e-4  # of the room


def utterances(samples: FloatArray) -> list[FloatArray]:
    """Cut a recording at its pauses."""
    found = []
    for span in speech_timestamps(samples, SPEECH):
        n = -(-(span.end - span.start) // round(LONGEST * RATE))
        for part in np.array_split(samples[span.start : span.end], n):
            if len(part) >= SHORTEST * RATE:
                found.append(np.asarray(part * (LOUDNESS / np.sqrt(np.square(part).mean())), np.float32))
    return found


def synthesize(voice: str, pitch: str) -> FloatArray:
    """Return the text in a voice of espeak-ng."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "voice.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-p", pitch, "-w", str(file), TEXT], check=True)
        return load_audio(file)


def voices(folder: Path) -> dict[str, list[FloatArray]]:
    """Return the utterances of each voice.

    Args:
        folder: With the recordings that tests/real uses.
    """
    found = {name: [load_audio(folder / file) for file in files] for name, files in VOICES.items()}
    if shutil.which("espeak-ng"):
        found |= {name: [synthesize(*how)] for name, how in SYNTHETIC.items()}
    return {name: [part for each in recordings for part in utterances(each)] for name, recordings in found.items()}


def conversation(
    parts: dict[str, list[FloatArray]], n_speaker: int, seconds: float, seed: int
) -> tuple[FloatArray, Diarization]:
    """Join utterances of several voices.

    Args:
        parts: The utterances of each voice.
        n_speaker: Number of voices, each of which speaks at least once.
        seconds: Length.
        seed: Of the choices.

    Returns:
        The samples and the turns.
    """
    g = np.random.default_rng([seed, n_speaker])
    names = list(g.choice(list(parts), n_speaker, replace=False))
    samples = (NOISE * g.standard_normal(round(seconds * RATE))).astype(np.float32)
    turns: list[Turn] = []
    ends = dict.fromkeys(names, 0.0)  # of each speaker's last turn
    at, previous, waiting = 0.5, "", list(names)
    while True:
        choices = [name for name in waiting or names if name != previous] or names
        name = str(g.choice(choices))
        part = parts[name][g.integers(len(parts[name]))]
        overlaps = turns and name != previous and g.random() < OVERLAPPING
        start = at - g.uniform(*OVERLAP) if overlaps else at + g.uniform(*PAUSE)
        start = max(start, turns[-1].start + 0.1 if turns else 0.0, ends[name] + 0.1)
        first, length = round(start * RATE), len(part)
        if first + length > len(samples):
            return samples, Diarization(tuple(sorted(turns)))
        samples[first : first + length] += part * np.float32(g.uniform(0.7, 1.4))
        turns.append(Turn(start, start + length / RATE, name))
        ends[name] = turns[-1].end
        at, previous = max(at, turns[-1].end), name
        waiting = [each for each in waiting if each != name]
