"""Voice activity detection as evidence for a text: the probability that there is speech where the text is."""

from collections.abc import Callable

import numpy as np

from .. import simd
from ..audio import SAMPLE_RATE
from ..audio.silero import FRAME, SpeechProbabilities
from .audio_source import Blocks

FloatArray = simd.FloatArray

SECONDS_PER_FRAME = FRAME / SAMPLE_RATE  # 0.032
TOKENS_PER_SECOND = 20  # of text; more than anyone speaks
MIN_FRAMES = 3  # that the probability is averaged over: a click is shorter
LEVEL = 0.05  # RMS, full scale 1, to which the loudest second is amplified, as speech is detected less if it is quiet
MAX_GAIN = 100.0  # 40 dB


class SpeechEvidence:
    """The probability of speech of a whole recording, from a voice activity detector (Silero VAD)."""

    def __init__(self, blocks: Blocks, check_cancelled: Callable[[], object] = lambda: None) -> None:
        """Read the recording twice: for its level, and for the probabilities.

        Args:
            blocks: Returns the recording's samples, mono at 16 kHz, from the beginning at each call.
            check_cancelled: Called for each block; an exception that it raises is passed on.
        """
        gain = np.float32(np.clip(LEVEL / max(_loudest_second(blocks), 1e-9), 1, MAX_GAIN))
        network, found = SpeechProbabilities(), list[FloatArray]()
        for block in blocks():
            check_cancelled()
            found.append(network.push(block * gain))
        self.probabilities: FloatArray = np.concatenate([*found, network.finish()])  # (n_frame,), of 32 ms each

    def speech_prob(self, start: float, end: float, n_tokens: int) -> float:
        """Return the probability that a text is spoken: the mean of the likeliest frames, as many as it needs at least.

        Args:
            start: Seconds of the recording at which the text begins.
            end: Seconds at which it ends.
            n_tokens: Tokens of the text.
        """
        first = max(0, int(start / SECONDS_PER_FRAME))
        frames = self.probabilities[first : max(first + 1, int(end / SECONDS_PER_FRAME))]
        n = max(MIN_FRAMES, round(n_tokens / TOKENS_PER_SECOND / SECONDS_PER_FRAME))
        return float(np.sort(frames)[-n:].mean()) if len(frames) else 0.0


def _loudest_second(blocks: Blocks) -> float:
    """Return the RMS of the loudest second, or of the whole recording if it is shorter than a second."""
    power, sums, n = 0.0, 0.0, 0
    for block in blocks():
        for at in range(0, len(block), SAMPLE_RATE):
            part = block[at : at + SAMPLE_RATE]
            sums, n = sums + float(np.dot(part, part)), n + len(part)
            if n >= SAMPLE_RATE:
                power, sums, n = max(power, sums / n), 0.0, 0
    return float(np.sqrt(power if power else sums / max(n, 1)))
