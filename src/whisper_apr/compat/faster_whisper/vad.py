"""faster_whisper.vad: voice activity detection.

The network is Silero VAD v6 with the weights of the package silero-vad, run by whisper_apr's kernels instead of
onnxruntime.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import faster_whisper as door
from ...audio import SAMPLE_RATE, speech_timestamps, vad_kind
from ...audio.samples import detached
from ...audio.silero import CONTEXT, FRAME, SpeechProbabilities
from ...errors import OptionError
from ...option_values import parse
from ...simd import FloatArray
from .utils import get_assets_path

VadOptions = door.VadOptions


class SileroVADModel:
    """Silero VAD.

    Args:
        path: The file of the weights. It is not read: the package's weights are used.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(
        self, audio: npt.ArrayLike, num_samples: int = FRAME, context_size_samples: int = CONTEXT
    ) -> FloatArray:
        """Return the probability of speech in each frame.

        Args:
            audio: Samples `(n,)` at 16 kHz, whole frames.
            num_samples: 512, the samples of a frame.
            context_size_samples: 64, the samples before a frame that the network is given.

        Raises:
            OptionError: An argument has another shape or value.
        """
        samples = np.asarray(audio, np.float32)
        if samples.ndim != 1 or samples.size % FRAME:
            raise OptionError(f"audio must have one axis of whole frames of {FRAME} samples, not {samples.shape}")
        if (num_samples, context_size_samples) != (FRAME, CONTEXT):
            raise OptionError(f"frames must have {FRAME} samples and a context of {CONTEXT}")
        return SpeechProbabilities().push(samples)


@lru_cache(maxsize=1)
def get_vad_model() -> SileroVADModel:
    """Return the network."""
    return SileroVADModel(f"{get_assets_path()}/silero_vad.npz")


def get_speech_timestamps(
    audio: npt.ArrayLike,
    vad_options: VadOptions | Mapping[str, Any] | None = None,
    sampling_rate: int = SAMPLE_RATE,
    **kwargs: Any,
) -> list[dict[str, int]]:
    """Return the stretches of speech, each as a dictionary of its "start" and "end" in samples.

    Args:
        audio: Samples `(n,)` at 16 kHz.
        vad_options: The options; None for those in `kwargs`.
        sampling_rate: 16000.
        **kwargs: Fields of VadOptions, if `vad_options` is None.

    Raises:
        OptionError: An option has a value that is not allowed.
    """
    if sampling_rate != SAMPLE_RATE:
        raise OptionError(f"sampling_rate must be {SAMPLE_RATE}, not {sampling_rate!r}; resample the audio")
    given = kwargs if vad_options is None else vad_options
    fields = asdict(given) if isinstance(given, VadOptions) else given
    options = parse("vad_options", vad_kind(), fields)
    return [{"start": start, "end": end} for start, end in speech_timestamps(np.asarray(detached(audio)), options)]


def collect_chunks(
    audio: FloatArray, chunks: Sequence[Mapping[str, int]], sampling_rate: int = SAMPLE_RATE, max_duration: float = inf
) -> tuple[list[FloatArray], list[dict[str, Any]]]:
    """Join stretches of speech into chunks of at most `max_duration` seconds.

    Args:
        audio: Samples `(n,)`.
        chunks: The stretches, as `get_speech_timestamps` returns them.
        sampling_rate: Of the samples, in Hz.
        max_duration: Seconds. A longer stretch is a chunk by itself.

    Returns:
        The chunks' samples, and of each chunk a dictionary of its "offset" in the joined speech and "duration" in
        seconds, and its "segments". Without stretches, one empty chunk.
    """
    groups: list[list[Mapping[str, int]]] = [[]]
    size = 0
    for chunk in chunks:
        length = chunk["end"] - chunk["start"]
        if size + length > max_duration * sampling_rate:
            groups.append([])
            size = 0
        groups[-1].append(chunk)
        size += length
    samples = [np.concatenate([np.zeros(0, np.float32), *(audio[c["start"] : c["end"]] for c in g)]) for g in groups]
    offsets = np.cumsum([0, *map(len, samples)])
    metadata = [
        {"offset": offset / sampling_rate, "duration": len(part) / sampling_rate, "segments": list(group)}
        for offset, part, group in zip(offsets.tolist(), samples, groups, strict=False)
    ]
    return samples, metadata


class SpeechTimestampsMap:
    """Maps times in joined stretches of speech to times in the recording."""

    def __init__(self, chunks: Sequence[Mapping[str, int]], sampling_rate: int, time_precision: int = 2) -> None:
        """Make the mapping.

        Args:
            chunks: The stretches, in order.
            sampling_rate: Of their samples, in Hz.
            time_precision: Decimals of the times.
        """
        self.sampling_rate = sampling_rate
        self.time_precision = time_precision
        lengths = [chunk["end"] - chunk["start"] for chunk in chunks]
        self.chunk_end_sample: list[int] = np.cumsum(lengths, dtype=np.int64).tolist()
        self.total_silence_before = [
            (chunk["end"] - end) / sampling_rate for chunk, end in zip(chunks, self.chunk_end_sample, strict=True)
        ]

    def get_original_time(self, time: float, chunk_index: int | None = None, is_end: bool = False) -> float:
        """Return the time in the recording of a time in the joined speech, in seconds."""
        index = self.get_chunk_index(time, is_end) if chunk_index is None else chunk_index
        return float(round(self.total_silence_before[index] + time, self.time_precision))

    def get_chunk_index(self, time: float, is_end: bool = False) -> int:
        """Return the number of the stretch at a time; at the end of one, that one if `is_end`, otherwise the next."""
        sample = int(time * self.sampling_rate)
        if is_end and sample in self.chunk_end_sample:
            return self.chunk_end_sample.index(sample)
        return min(bisect(self.chunk_end_sample, sample), len(self.chunk_end_sample) - 1)
