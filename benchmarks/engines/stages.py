"""Every stage of one engine, measured in the process that calls."""

import statistics
import time
from pathlib import Path

import numpy as np

import engines
from whisper_apr.bench.measure import median_time, peak_memory
from whisper_apr.bench.pipeline import a_window

N_TOKENS, N_BATCH, N_BEAM = 100, 60, 24  # greedy, greedy of a batch, with beams
FEW = 4  # steps that are subtracted: what reading the prompt and setting up cost falls out
BEAMS, WINDOWS = 5, 8
SECONDS = 1.2  # spent on whole windows, of which there are two at least: a short stage's median needs no more
STAGES = ("mel", "encoder", "token", "beam", "whole", "window", "window8", "token8", "load", "peak")


def measure(name: str, compute_type: str, threads: int, folder: Path) -> dict[str, object]:
    """STAGES, None where the engine has no such thing: milliseconds, and MB; and `tokens`, which engines of one type must agree on.

    `window` is one window with 60 tokens, `window8` the same of eight at once, divided by eight; `token8` likewise a step of eight, by eight.
    """
    module = engines.module(name)  # what importing takes does not count
    _read(folder)
    begin = time.perf_counter()
    engine = module.Engine(folder, compute_type, threads)
    load = time.perf_counter() - begin
    audio = a_window()
    mel = engine.mel(audio)
    features = engine.encode(mel)
    tokens = engine.greedy(features, N_TOKENS)
    peak = peak_memory()
    windows = [_window(engine, audio)]
    while len(windows) < 2 or sum(map(sum, windows)) < SECONDS:
        windows.append(_window(engine, audio))
    _, encoder, many = (statistics.median(part) for part in zip(*windows, strict=True))
    few = median_time(lambda: engine.greedy(features, FEW), 0.1)
    token = (many - few) / (N_TOKENS - FEW)
    seconds = {
        "mel": median_time(lambda: engine.mel(audio), 0.1),
        "encoder": encoder,
        "token": token,
        "whole": statistics.median(map(sum, windows)),
        "window": encoder + few + (N_BATCH - FEW) * token,
        "load": load,
    }
    if hasattr(engine, "beam"):
        few, many = (
            median_time(lambda n=n: engine.beam(features, n, BEAMS), 0.3, at_least=1) for n in (FEW, FEW + N_BEAM)
        )
        seconds["beam"] = (many - few) / N_BEAM
    if hasattr(engine, "encode_batch"):
        seconds |= _batch(engine, mel)
    times = {stage: 1000 * seconds[stage] if stage in seconds else None for stage in STAGES}
    return {**times, "peak": peak and peak / 1e6, "tokens": tokens[:FEW]}


def _read(folder: Path) -> None:
    """So that every engine finds its files in memory, whichever of them was used last."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def _window(engine, audio: np.ndarray) -> tuple[float, float, float]:
    """Seconds of mel, encoder, and prompt with N_TOKENS."""
    times = [time.perf_counter()]
    mel = engine.mel(audio)
    times.append(time.perf_counter())
    features = engine.encode(mel)
    times.append(time.perf_counter())
    engine.greedy(features, N_TOKENS)
    times.append(time.perf_counter())
    first, second, third = np.diff(times).tolist()
    return first, second, third


def _batch(engine, mel: np.ndarray) -> dict[str, float]:
    begin = time.perf_counter()
    features = engine.encode_batch(np.repeat(np.asarray(mel)[None], WINDOWS, axis=0))
    encoder = time.perf_counter() - begin
    few, many = (median_time(lambda n=n: engine.greedy_batch(features, n), 0.3, at_least=1) for n in (FEW, N_BATCH))
    return {"window8": (encoder + many) / WINDOWS, "token8": (many - few) / (N_BATCH - FEW) / WINDOWS}
