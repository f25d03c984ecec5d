"""Measurement of every stage of one engine, in the current process."""

import statistics
import time
from pathlib import Path

import numpy as np

import engines
from whisper_apr.bench.measure import median_time, peak_memory
from whisper_apr.bench.pipeline import noise_window

N_TOKENS, N_BATCH, N_BEAM = 100, 60, 24  # greedy, greedy of a batch, with beams
FEW = 4  # the time of as many steps is subtracted, which cancels the cost of the prompt and of setting up
BEAMS, WINDOWS = 5, 8
SECONDS = 1.2  # spent on whole windows, of which there are at least two
STAGES = ("mel", "encoder", "token", "beam", "whole", "window", "window8", "token8", "load", "peak")


def measure(name: str, compute_type: str, threads: int, folder: Path) -> dict[str, object]:
    """Return STAGES in milliseconds (`peak` in MB), None for those that the engine lacks, and the first `tokens`.

    Engines of the same compute type should find the same tokens. See peers.py for the meaning of the stages.
    """
    module = engines.module(name)  # importing is not part of loading
    _read_files(folder)
    begin = time.perf_counter()
    engine = module.Engine(folder, compute_type, threads)
    load = time.perf_counter() - begin
    audio = noise_window()
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


def _read_files(folder: Path) -> None:
    """Read all files, so that every engine finds its own in the system's cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def _window(engine, audio: np.ndarray) -> tuple[float, float, float]:
    """Return the seconds of the spectrogram, of the encoder, and of the prompt with N_TOKENS."""
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
