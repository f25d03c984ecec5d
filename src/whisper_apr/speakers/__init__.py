"""Tell the speakers of a recording apart (diarization).

The networks are `segmentation`, which finds voices in ten seconds, and `embedding`, which describes a voice by a
vector; `diarization` combines both for a recording of any length, by `clustering`. `turns` is the result, and `weights`
the weights, which are a package of their own.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ..audio import SAMPLE_RATE, AudioLike, AudioReader, ReadingOptions
from ..errors import AudioError, OptionError
from ..option_values import function, optional, parse, shown, whole
from .layers import N_EMBEDDING, FloatArray
from .turns import MAX_SPEAKERS, Diarization, Turn, read_rttm
from .weights import load_diarizer

__all__ = ["Diarization", "Turn", "diarize", "embed_voice", "read_rttm"]

MIN_VOICE_SECONDS = 0.5
MAX_VOICE_SECONDS = 60


def diarize(
    audio: AudioLike,
    *,
    num_speakers: int | None = None,
    min_speakers: int = 1,
    max_speakers: int = MAX_SPEAKERS,
    enroll: Mapping[str, AudioLike | FloatArray] | None = None,
    reading: ReadingOptions | None = None,
    on_progress: Callable[[float], object] | None = None,
    check_cancelled: Callable[[], object] = lambda: None,
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
        on_progress: Called every five seconds of the recording, later every 7.5, with the seconds that are done.
        check_cancelled: Called before each computation of a network. What it raises ends the diarization.

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
    parse("on_progress", optional(function), on_progress)
    parse("check_cancelled", function, check_cancelled)
    known = known_voices(enroll or {})
    blocks = AudioReader(audio, reading or ReadingOptions()).blocks(allow_empty=True)
    report = on_progress or (lambda seconds: None)
    return load_diarizer()(blocks, lowest, highest, known, on_progress=report, check_cancelled=check_cancelled)


def embed_voice(audio: AudioLike) -> FloatArray:
    """Return a vector `(192,)` of length one that describes the voice of a recording.

    Args:
        audio: A recording in which one person speaks, of at least half a second, as for `transcribe`. Its first
            minute is used.

    Raises:
        AudioError: The recording cannot be read.
        OptionError: The recording is too short, or the package whisper-apr-speakers is not installed.
    """
    samples, blocks = np.zeros(0, np.float32), AudioReader(audio, ReadingOptions()).blocks()
    for block in blocks:
        samples = np.concatenate([samples, block])
        if len(samples) >= MAX_VOICE_SECONDS * SAMPLE_RATE:
            break
    if len(samples) < MIN_VOICE_SECONDS * SAMPLE_RATE:
        raise OptionError(
            f"a voice needs {MIN_VOICE_SECONDS} s of speech, but the recording has {len(samples) / SAMPLE_RATE:.2f} s"
        )
    return load_diarizer().embed(samples[: MAX_VOICE_SECONDS * SAMPLE_RATE])


def known_voices(voices: Mapping[str, AudioLike | FloatArray]) -> dict[str, FloatArray]:
    """Return the vectors of voices, which are recordings or vectors that `embed_voice` returned.

    Raises:
        OptionError: A recording cannot be read or is too short, or the package whisper-apr-speakers is not installed.
    """
    vectors = {}
    for name, voice in voices.items():
        if isinstance(voice, np.ndarray) and voice.shape == (N_EMBEDDING,):
            vectors[name] = voice.astype(np.float32)
            continue
        try:
            vectors[name] = embed_voice(voice)
        except (AudioError, OptionError) as error:
            raise OptionError(f"the voice of {shown(name)}: {error}") from error
    return vectors
