"""whisper_apr."""

from pathlib import Path

import numpy as np

from engines import PROMPT
from whisper_apr import load_model, simd
from whisper_apr.audio import log_mel_spectrogram
from whisper_apr.formats import Checkpoint
from whisper_apr.formats.apr import write_apr
from whisper_apr.inference.search import BeamSearch

COMPUTE_TYPES = ("float32", "float16", "int8", "int4")


def _dtype(compute_type: str) -> str:
    """Return the dtype of the file; the random weights are float16, as in published checkpoints."""
    return "float16" if compute_type == "float32" else compute_type


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    for dtype in {_dtype(compute_type) for compute_type in COMPUTE_TYPES}:
        write_apr(checkpoint, folder / f"{dtype}.apr", dtype)


class Engine:
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        simd.set_num_threads(threads)
        self.model = load_model(folder / f"{_dtype(compute_type)}.apr", compute_type=compute_type)

    def mel(self, audio):
        return log_mel_spectrogram(audio, self.model.dims.n_mels)

    def encode(self, mel):
        return self.encode_batch(mel[None])

    def encode_batch(self, mels):
        """Return features and the decoder's cross-attention keys and values, which most engines compute here too."""
        features = self.model.embed_audio(mels)
        return features, self.model.decoder.new_cache(features)

    def greedy(self, features, n):
        return self.greedy_batch(features, n)[0]

    def greedy_batch(self, features, n):
        audio, cache = features
        cache.lengths[:] = 0  # discards the tokens of an earlier call
        tokens, chosen = np.array([PROMPT] * len(audio)), []
        for _ in range(n):
            tokens = simd.argmax(self.model.decoder(tokens, cache)[:, -1])[:, None]
            chosen.append(tokens[:, 0].tolist())
        return [list(row) for row in zip(*chosen, strict=True)]

    def beam(self, features, n, size):
        """Run steps of the beam search that `decode` uses."""
        decoder, search = self.model.decoder, BeamSearch(1, size, eot=-1)
        cache = decoder.new_cache(features[0], size)
        new, sampled = np.array([PROMPT] * size), np.empty((size, 0), np.int64)
        for _ in range(n):
            sampled, _ = search.update(sampled, np.ascontiguousarray(decoder(new, cache)[:, -1]), cache)
            new = sampled[:, -1:]
