"""Measure the stages of decoding one 30 s window, the time to load a model, and peak memory.

The times of the encoder and of a token are compared with their floors on this machine (limits.py), measured alongside.
Loading and memory are measured in a separate process that loads the model from a file and decodes the window once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import simd
from ..audio import N_SAMPLES, log_mel_spectrogram
from ..formats.apr import write_apr
from ..model import Whisper
from ..recognizer import ComputeType, load_model
from .limits import floors
from .measure import median_time, peak_memory, table, write_json
from .models import DIMENSIONS, random_checkpoint

N_TOKENS = 100  # decoded per window, regardless of end-of-text
LEGEND = """Median times in milliseconds for one window of 30 s: the log-mel spectrogram, the encoder, the prompt of 4
tokens, one of 100 tokens, and the whole window; then the time to load the model, and the peak memory of a process that
decodes one window. `/floor` is the time divided by the shortest time that the machine's peak arithmetic rate (encoder)
or memory bandwidth (token) permits; `speedup` is relative to one thread."""
PROMPT = (50258, 50259, 50359, 50363)  # start of transcript, English, transcribe, no timestamps


def noise_window() -> np.ndarray:
    """Return 30 s of noise, `(480000,)`: the times do not depend on the audio."""
    return np.random.default_rng(0).standard_normal(N_SAMPLES, dtype=np.float32) * np.float32(0.1)


def greedy_tokens(model: Whisper, features: np.ndarray, n: int = N_TOKENS) -> list[int]:
    """Decode n tokens after the prompt greedily."""
    cache = model.decoder.new_cache(features)
    tokens = np.array([PROMPT])
    chosen: list[int] = []
    for _ in range(n):
        tokens = simd.argmax(model.decoder(tokens, cache)[:, -1])[:, None]
        chosen.append(int(tokens[0, 0]))
    return chosen


def stages(model: Whisper, seconds: float = 1.0) -> dict[str, float]:
    """Return the median milliseconds of each stage: `mel`, `encoder`, `prompt`, `token` and `whole`."""
    audio, dims = noise_window(), model.dims
    mel = log_mel_spectrogram(audio, dims.n_mels)
    features = model.embed_audio(mel[None])

    def prompt() -> object:
        return model.decoder(np.array([PROMPT]), model.decoder.new_cache(features))

    def pipeline() -> object:
        return greedy_tokens(model, model.embed_audio(log_mel_spectrogram(audio, dims.n_mels)[None]))

    times = {
        "mel": median_time(lambda: log_mel_spectrogram(audio, dims.n_mels), seconds),
        "encoder": median_time(lambda: model.embed_audio(mel[None]), seconds),
        "prompt": median_time(prompt, seconds),
    }
    whole = median_time(lambda: greedy_tokens(model, features), seconds)
    times["token"] = (whole - times["prompt"]) / (N_TOKENS - 1)
    times["whole"] = median_time(pipeline, seconds)
    return {name: 1000 * value for name, value in times.items()}


def load_once(path: str, compute_type: ComputeType) -> dict[str, float | None]:
    """Return the milliseconds to load a model, and the peak MB after one window. Call it in a new process."""
    begin = time.perf_counter()
    model = load_model(path, compute_type=compute_type)
    loaded = time.perf_counter() - begin
    greedy_tokens(model, model.embed_audio(log_mel_spectrogram(noise_window(), model.dims.n_mels)[None]))
    peak = peak_memory()
    return {"load": 1000 * loaded, "peak MB": None if peak is None else peak / 1e6}


def _load_in_new_process(path: str, compute_type: ComputeType) -> dict[str, float | None]:
    command = [sys.executable, "-m", __name__, path, compute_type]
    command += [str(simd.get_num_threads()), simd.backend()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float | None] = json.loads(done.stdout)
    return result


def measure_model(name: str, random: bool, compute_type: ComputeType, seconds: float) -> dict[str, float | None]:
    """Measure one model, given by name or path, or by the size of random weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = name
        if random:
            path = str(Path(folder) / f"{name}.apr")
            write_apr(
                random_checkpoint(DIMENSIONS[name]), path, "float16" if compute_type == "float32" else compute_type
            )
        once = _load_in_new_process(path, compute_type)
        model = load_model(path, compute_type=compute_type)
        times = stages(model, seconds)
        if simd.backend() == "numpy":  # it cannot measure the machine's limits
            return {**times, **once}
        floor = floors(model.dims, compute_type, np.dtype(model.decoder.cache_dtype).itemsize)
        return {**times, **once, **{f"{name}/floor": times[name] / floor[name] for name in floor}}


def speedups(results: list[dict[str, Any]]) -> None:
    """Add the speedups over one thread to results with several threads, if one thread was measured too."""
    if not any(result["threads"] > 1 for result in results):
        return
    for result in results:
        key = {**{name: result[name] for name in ("model", "compute_type")}, "threads": 1}
        one = next((other for other in results if key.items() <= other.items()), None)
        for stage in ("encoder", "token"):
            result[f"{stage} speedup"] = one[stage] / result[stage] if one and one is not result else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", nargs="*", default=[], help="names or paths of models (default: digits)")
    parser.add_argument(
        "--random", nargs="*", default=[], choices=DIMENSIONS, help="sizes of models with random weights"
    )
    parser.add_argument(
        "--compute-type",
        nargs="+",
        default=["float32"],
        choices=simd.COMPUTE_TYPES,
        help="types of the weights to measure (default: float32)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=[simd.get_num_threads()],
        metavar="N",
        help="numbers of threads to measure (default: one per CPU that the process may use)",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="time to spend on each stage (default: 1)")
    parser.add_argument("--json", type=Path, help="also write the results to this JSON file")


def run(options: argparse.Namespace) -> None:
    """Measure the requested models, print a table, and write the JSON file."""
    wanted = [(name, False) for name in options.model] + [(name, True) for name in options.random]
    results: list[dict[str, Any]] = []
    for name, random in wanted or [("digits", False)]:
        for compute_type in options.compute_type:
            for threads in options.threads:
                simd.set_num_threads(threads)
                figures = measure_model(name, random, compute_type, options.seconds)
                results.append({"model": name, "compute_type": compute_type, "threads": threads, **figures})
    speedups(results)
    print(LEGEND)
    print(table(list(results[0]), [list(result.values()) for result in results]))
    if options.json:
        write_json(options.json, results=results)


if __name__ == "__main__":  # the process of _load_in_new_process
    path, compute_type, threads, backend = sys.argv[1:]
    simd.use_backend(backend)
    simd.set_num_threads(int(threads))
    print(json.dumps(load_once(path, cast(ComputeType, compute_type))))
