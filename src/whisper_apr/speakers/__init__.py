"""Tell the speakers of a recording apart (diarization).

The networks are `segmentation`, which finds voices in ten seconds, and `embedding`, which describes a voice by a
vector; `diarization` combines both for a recording of any length, by `clustering`. `turns` is the result, and `weights`
the weights, which are a package of their own.
"""

from collections.abc import Mapping

import numpy as np

from ..audio import AudioLike, AudioReader, ReadingOptions
from ..errors import OptionError
from ..option_values import parse, whole
from .diarization import Diarizer
from .embedding import N_EMBEDDING
from .layers import FloatArray
from .turns import MAX_SPEAKERS, Diarization, Turn, read_rttm
from .weights import load_diarizer

__all__ = ["Diarization", "Turn", "diarize", "embed_voice", "read_rttm"]


def diarize(
    audio: AudioLike,
    *,
    num_speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = MAX_SPEAKERS,
    enroll: Mapping[str, AudioLike | FloatArray] | None = None,
    reading: ReadingOptions | None = None,
) -> Diarization:
    """Find out who speaks when in a recording of any length, which is read in blocks.

    Args:
        audio: As for `transcribe`.
        num_speakers: Number of speakers, if it is known.
        min_speakers: Fewest speakers.
        max_speakers: Most speakers.
        enroll: Known voices by their names: recordings in which nobody else speaks, or vectors that `embed_voice`
            returned. Speakers with another voice are named SPEAKER_00, SPEAKER_01 and so on, in order of their first
            turn.
        reading: Which channel and track to read, see `ReadingOptions`.

    Raises:
        AudioError: The recording cannot be read.
        OptionError: A number of speakers is not allowed, or the package whisper-apr-speakers is not installed.
    """
    kind = whole(1, MAX_SPEAKERS)
    lowest, highest = parse("min_speakers", kind, min_speakers), parse("max_speakers", kind, max_speakers)
    if num_speakers is not None:
        lowest = highest = parse("num_speakers", kind, num_speakers)
    if lowest > highest:
        raise OptionError(f"min_speakers={lowest} is more than max_speakers={highest}")
    diarizer = load_diarizer()
    known = {name: _vector(diarizer, voice) for name, voice in (enroll or {}).items()}
    blocks = AudioReader(audio, reading or ReadingOptions()).blocks(allow_empty=True)
    return diarizer(blocks, lowest, highest, known)


def embed_voice(audio: AudioLike) -> FloatArray:
    """Return a vector `(192,)` of length one that describes the voice of a recording.

    Args:
        audio: A recording in which one person speaks, of at least half a second, as for `transcribe`.
    """
    return load_diarizer().embed(np.concatenate([*AudioReader(audio, ReadingOptions()).blocks()]))


def _vector(diarizer: Diarizer, voice: AudioLike | FloatArray) -> FloatArray:
    if isinstance(voice, np.ndarray) and voice.shape == (N_EMBEDDING,):
        return voice.astype(np.float32)
    return embed_voice(voice)
