"""Write tests/data/reference.json and reference.npz with the results of openai-whisper.

Run it with `PYTHONPATH=tests python tests/parity/make_reference.py`.
"""

import json
import tempfile
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import models
import reference
from recordings import RECORDINGS


def load_digits() -> Any:
    import whisper

    return whisper.load_model(str(files("whisper_apr").joinpath("assets", "digits.pt")), device="cpu")


def load_random(name: str) -> Any:
    import torch
    import whisper

    dims, seed = reference.RANDOM[name]
    state = {key: torch.from_numpy(value) for key, value in models.random_tensors(dims, seed).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pt"
        torch.save({"dims": asdict(dims), "model_state_dict": state}, path)
        return whisper.load_model(str(path), device="cpu")


def transcriptions(digits: Any) -> dict[str, dict[str, Any]]:
    return {
        task: {
            name: reference.summary(digits.transcribe(RECORDINGS[name](), temperature=0.0, fp16=False, task=task))
            for name in names
        }
        for task, names in (("transcribe", RECORDINGS), ("translate", reference.TRANSLATED))
    }


def vectors(digits: Any) -> dict[str, np.ndarray]:
    import torch
    import whisper

    out = {}
    with torch.inference_mode():
        for name in reference.MELS:
            for n_mels in (80, 128):
                mel = whisper.log_mel_spectrogram(RECORDINGS[name](), n_mels, padding=480_000).numpy()
                out[f"mel {n_mels} {name}"] = reference.mel_slice(mel)
        for label, model, windows in (
            ("digits", digits, reference.HEARD),
            *((label, load_random(label), reference.WINDOWS) for label in reference.RANDOM),
        ):
            dims = model.dims
            # openai-whisper computes the spectrogram too, so that the result does not depend on this package
            mels = [whisper.log_mel_spectrogram(RECORDINGS[name](), dims.n_mels) for name in windows]
            mel = torch.stack([whisper.pad_or_trim(x, 2 * dims.n_audio_ctx) for x in mels])
            features = model.embed_audio(mel)
            tokens = torch.from_numpy(np.tile(reference.tokens(dims.n_vocab), (len(windows), 1)))
            out[f"{label} features"] = reference.feature_slice(features.numpy())
            out[f"{label} logits"] = reference.logit_slice(model.logits(tokens, features).numpy())
            if label != "digits":
                language = None if model.is_multilingual else "en"
                results = model.decode(mel, fp16=False, sample_len=reference.SAMPLE_LEN, language=language)
                out[f"{label} tokens"] = np.array(
                    [r.tokens + [-1] * (reference.SAMPLE_LEN - len(r.tokens)) for r in results]
                )
    return out


def main() -> None:
    import torch

    torch.set_num_threads(1)
    digits = load_digits()
    lines = [
        f" {json.dumps(task)}: {{\n"
        + ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in results.items()
        )
        + "\n }"
        for task, results in transcriptions(digits).items()
    ]
    reference.TRANSCRIPTIONS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(reference.VECTORS, **vectors(digits))


if __name__ == "__main__":
    main()
