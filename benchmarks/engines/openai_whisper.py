"""openai-whisper, on PyTorch."""

from dataclasses import asdict
from pathlib import Path

import torch
import whisper
from whisper.decoding import BeamSearchDecoder, GreedyDecoder, PyTorchInference

from engines import PROMPT
from whisper_apr.formats import Checkpoint

NEVER = -1  # an end-of-text token that does not occur
COMPUTE_TYPES = ("float32",)


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    state = {name: torch.from_numpy(tensor.copy()) for name, tensor in checkpoint.tensors.items()}
    torch.save({"dims": asdict(checkpoint.dims), "model_state_dict": state}, folder / "openai.pt")


class Engine:
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.model = whisper.load_model(str(folder / "openai.pt"), device="cpu")

    def mel(self, audio):
        return whisper.log_mel_spectrogram(audio, self.model.dims.n_mels)

    def encode(self, mel):
        return self.model.encoder(torch.as_tensor(mel)[None])

    def _steps(self, features, n, rows, update):
        inference = PyTorchInference(self.model, len(PROMPT))
        search = update(inference)
        tokens, sums = torch.tensor([PROMPT] * rows), torch.zeros(rows)
        features = features.expand(rows, -1, -1)
        for _ in range(n):
            tokens, _ = search.update(tokens, inference.logits(tokens, features)[:, -1], sums)
        inference.cleanup_caching()
        return tokens[0, len(PROMPT) :].tolist()

    def greedy(self, features, n):
        return self._steps(features, n, 1, lambda _: GreedyDecoder(0.0, NEVER))

    def beam(self, features, n, size):
        self._steps(features, n, size, lambda inference: BeamSearchDecoder(size, NEVER, inference))
