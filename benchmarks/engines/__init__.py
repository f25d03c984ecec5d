"""Adapters of the engines that peers.py compares, one module each.

A module defines COMPUTE_TYPES; `prepare(checkpoint, folder)`, which writes the engine's files; and a class
`Engine(folder, compute_type, threads)` with one method per stage:

- `mel(audio)` returns the log-mel spectrogram;
- `encode(mel)` returns features;
- `greedy(features, n)` returns n tokens after the prompt, even after end-of-text;
- `beam(features, n, size)` does the same with beams; it is optional;
- `encode_batch(mels)` and `greedy_batch(features, n)` do the same for several windows; they are optional.
"""

import importlib
import shutil
from pathlib import Path
from types import ModuleType

from whisper_apr.bench.pipeline import PROMPT as PROMPT

NAMES = ("whisper_apr", "openai_whisper", "ctranslate2", "whisper_cpp", "onnxruntime", "openvino")
_MODULES = {"whisper_apr": "ours", "ctranslate2": "ct2", "onnxruntime": "ort", "openvino": "ov"}

END = 50257  # end-of-text, suppressed so that every engine decodes the same number of tokens


def module(name: str) -> ModuleType:
    """Import the module of an engine.

    Raises:
        ImportError: The engine's package is not installed.
    """
    return importlib.import_module(f"engines.{_MODULES.get(name, name)}")


def prepare(name: str, size: str, folder: Path) -> None:
    """Write an engine's files for random weights of a named size, atomically."""
    from whisper_apr.bench.models import DIMENSIONS, random_checkpoint

    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    module(name).prepare(random_checkpoint(DIMENSIONS[size]), unfinished)
    unfinished.rename(folder)
