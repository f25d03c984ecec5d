"""CTranslate2, the engine of faster-whisper, with the log-mel spectrogram of faster-whisper."""

from pathlib import Path

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

from engines import END, PROMPT
from whisper_apr.formats import Checkpoint
from whisper_apr.tokenizer import get_tokenizer

LANGUAGES = range(50259, 50358)
COMPUTE_TYPES = ("float32", "int8")


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    import torch
    from ctranslate2.converters.transformers import WhisperLoader

    from engines import hugging_face

    with torch.no_grad():
        model = hugging_face.make(checkpoint)
        spec = WhisperLoader().get_model_spec(model)
        # tokens are not converted to text, so only the names of special tokens matter
        names = [f"token {i}" for i in range(checkpoint.dims.n_vocab)]
        for name, token in get_tokenizer(True).special_tokens.items():
            names[token] = name
        spec.register_vocabulary(names)
        spec.config.suppress_ids = spec.config.suppress_ids_begin = []
        spec.config.lang_ids = list(LANGUAGES)
        spec.config.alignment_heads = [[0, 0]]
        spec.validate()
        spec.optimize(quantization="float16")
        (folder / "ct2").mkdir(exist_ok=True)
        spec.save(str(folder / "ct2"))


class Engine:
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        self.model = ctranslate2.models.Whisper(
            str(folder / "ct2"), device="cpu", compute_type=compute_type, intra_threads=threads, inter_threads=1
        )
        self.extractor = FeatureExtractor()

    def mel(self, audio):
        return self.extractor(audio)[:, :3000]

    def encode(self, mel):
        return self.encode_batch(mel[None])

    def encode_batch(self, mels):
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mels, dtype=np.float32))
        return self.model.encode(features, to_cpu=True)

    def _generate(self, features, n, size):
        results = self.model.generate(
            features,
            [list(PROMPT)] * features.shape[0],
            beam_size=size,
            max_length=2 * n,  # half of it is for the text
            suppress_blank=False,
            suppress_tokens=[END],
            sampling_temperature=0,
        )
        return [result.sequences_ids[0] for result in results]

    def greedy(self, features, n):
        return self._generate(features, n, 1)[0]

    def greedy_batch(self, features, n):
        return self._generate(features, n, 1)

    def beam(self, features, n, size):
        self._generate(features, n, size)
