"""The engines that peers.py compares, one module each: how it is given the weights, and how it is asked for each stage.

A module has COMPUTE_TYPES, `prepare(checkpoint, folder)`, which writes the engine's own files, and `Engine(folder, compute_type, threads)`
with the stages: `mel(audio)`, `encode(mel)` -> features, `greedy(features, n)` -> tokens, and `beam(features, n, size)`; both read the prompt
and take n steps, whatever the tokens are. One that takes several windows at once has `encode_batch(mels)` -> features too, of which `greedy_batch`
makes as many rows of tokens.
"""

import importlib
import shutil
from pathlib import Path
from types import ModuleType

NAMES = ("whisper_apr", "openai_whisper", "ctranslate2", "whisper_cpp", "onnxruntime", "openvino")
_MODULES = {"whisper_apr": "ours", "ctranslate2": "ct2", "onnxruntime": "ort", "openvino": "ov"}

PROMPT = (50258, 50259, 50359, 50363)  # start, English, transcribe, no timestamps
END = 50257  # suppressed, so that every engine takes as many steps


def module(name: str) -> ModuleType:
    """The module of an engine. ImportError where its package is not installed."""
    return importlib.import_module(f"engines.{_MODULES.get(name, name)}")


def prepare(name: str, size: str, folder: Path) -> None:
    """Give an engine random weights of a named size: a folder is there once all of its files are."""
    from whisper_apr.bench.models import DIMENSIONS, random_checkpoint

    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    module(name).prepare(random_checkpoint(DIMENSIONS[size]), unfinished)
    unfinished.rename(folder)
