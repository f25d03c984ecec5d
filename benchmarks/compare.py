"""Compare the speed of two source trees, for example a base commit and a change, and fail on a regression.

    python benchmarks/compare.py BASE HEAD [--rounds 5] [--threshold 1.10] [--groups GROUP ...] [--json FILE]

BASE and HEAD are checkouts whose extension is built in place (or pass `--build`). Each case is measured alternately in
one process per tree: operations of `whisper_apr.simd`, a model of the size of `tiny` with random weights, and
transcription with the bundled digits model. The table shows, for each case, the median over the rounds of HEAD's time
divided by BASE's, and the lowest and the highest ratio. Groups whose ratio, the median of their cases, is above the
threshold are measured for as many rounds again. The exit status is 1 if a group is still above the threshold, and 2 if
no case could be compared. Cases that one tree cannot run, because it lacks an operation, are listed and skipped.

With one thread, the default, the times are CPU times, which other processes on the machine affect less.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alternating import Ratio, Worker, in_turn, source_of

ROOT = Path(__file__).resolve().parent.parent
AUDIO = ROOT / "tests" / "data" / "en.wav"  # the same file for both trees
MIN_ROUNDS = 3
THRESHOLD = 1.10  # differences below 10 % are within the noise of shared machines

Measured = Mapping[str, tuple[Sequence[float], ...]]  # case -> BASE's and HEAD's seconds, round by round


# ---- the cases, which run in a worker -------------------------------------------------------------------------------


class Case(NamedTuple):
    """One measurement. `prepare` creates the inputs with the worker's package and returns the function to time."""

    group: str
    name: str
    prepare: Callable[[], Callable[[], object]]


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _product(m: int, k: int, n: int, compute_type: str) -> Callable[[], object]:
    from whisper_apr import simd

    x, weight = _normal(m, k), simd.prepare([_normal(n, k)], compute_type)
    return lambda: simd.linear(x, weight)


def _attention(n_head: int, n_query: int, n_key: int) -> Callable[[], object]:
    from whisper_apr import simd

    q, k, v = _normal(1, n_head, n_query, 64), _normal(1, n_head, n_key, 64), _normal(1, n_head, n_key, 64)
    return lambda: simd.attention(q, k, v)


def _paged_attention(dtype: str) -> Callable[[], object]:
    """Cross-attention of a token: 6 heads over 1500 positions."""
    from whisper_apr import simd

    pages, lengths = np.arange(94, dtype=np.int32)[None], np.array([1500], np.int32)
    cache = simd.new_kv_cache(94, 6, 64, dtype)
    simd.store_pages(_normal(1, 1500, 384), _normal(1, 1500, 384), pages, lengths, cache)
    q = _normal(1, 1, 384)
    return lambda: simd.paged_attention(q, cache, pages, lengths)


def _on_rows(name: str, *shape: int) -> Callable[[], object]:
    from whisper_apr import simd

    x, weight = _normal(*shape), _normal(shape[-1])
    if name == "layer_norm":
        return lambda: simd.layer_norm(x, weight, weight)
    if name == "top_k":
        return lambda: simd.top_k(x, 5)
    operation = getattr(simd, name)
    return lambda: operation(x)


def _mel() -> Callable[[], object]:
    from whisper_apr import log_mel_spectrogram

    audio = _normal(480_000)
    return lambda: log_mel_spectrogram(audio)


def _dtw() -> Callable[[], object]:
    from whisper_apr import simd

    cost = _normal(100, 1500)
    return lambda: simd.dtw(cost)


def _median_filter() -> Callable[[], object]:
    from whisper_apr import simd

    x = _normal(8, 100, 1500)
    return lambda: simd.median_filter(x, 7)


@functools.cache
def _tiny(compute_type: str):
    from whisper_apr.bench.models import DIMENSIONS, random_checkpoint
    from whisper_apr.model import Whisper

    return Whisper(random_checkpoint(DIMENSIONS["tiny"]), compute_type)


def _encoder(compute_type: str) -> Callable[[], object]:
    model, mel = _tiny(compute_type), _normal(1, 80, 3000)
    return lambda: model.embed_audio(mel)


def _tokens(compute_type: str) -> Callable[[], object]:
    """30 greedy tokens."""
    from whisper_apr.bench.pipeline import greedy_tokens

    model = _tiny(compute_type)
    features = model.embed_audio(_normal(1, 80, 3000))
    return lambda: greedy_tokens(model, features, 30)


def _transcription(compute_type: str, options: Mapping[str, object]) -> Callable[[], object]:
    from whisper_apr import load_audio, load_model

    model, audio = load_model("digits", compute_type=compute_type), load_audio(AUDIO)
    return lambda: model.transcribe(audio, temperature=0.0, **options)


def cases() -> Iterator[Case]:
    """Yield every case; shapes are those of `tiny`."""
    types = ("float32", "float16", "int8", "int4")
    for group, m, shapes in (
        ("encoder product", 1500, ((384, 384), (384, 1536), (1536, 384))),
        ("beam product", 5, ((384, 384), (384, 1536), (384, 51865))),
        ("token product", 1, ((384, 384), (384, 1536), (384, 51865))),
    ):
        for kind in types:
            for k, n in shapes:
                yield Case(f"{group} {kind}", f"{m}x{k}x{n}", functools.partial(_product, m, k, n, kind))
    for n_query, n_key in ((1500, 1500), (100, 1500), (1, 1500)):
        yield Case("attention", f"6x{n_query}x{n_key}x64", functools.partial(_attention, 6, n_query, n_key))
    for dtype in ("float32", "float16", "int8"):
        yield Case("paged attention", dtype, functools.partial(_paged_attention, dtype))
    for name in ("layer_norm", "softmax", "gelu"):
        yield Case("rows of the encoder", name, functools.partial(_on_rows, name, 1500, 384))
    for name in ("log_softmax", "logsumexp", "argmax", "top_k"):
        yield Case("rows of logits", name, functools.partial(_on_rows, name, 5, 51865))
    yield Case("mel spectrogram", "30 s", _mel)
    yield Case("alignment", "dtw 100x1500", _dtw)
    yield Case("alignment", "median filter 8x100x1500", _median_filter)
    for kind in ("float32", "int8"):
        yield Case("tiny, encoder", kind, functools.partial(_encoder, kind))
        yield Case("tiny, 30 tokens", kind, functools.partial(_tokens, kind))
    for name, options in (("greedy", {}), ("beams", {"beam_size": 5}), ("word times", {"word_timestamps": True})):
        for kind in ("float32", "int8"):
            yield Case("digits, transcribe", f"{name} {kind}", functools.partial(_transcription, kind, options))


def clock_for(threads: int) -> Callable[[], float]:
    """Return the clock to use: the thread's CPU time for one thread if the system measures it precisely."""
    precise = time.get_clock_info("thread_time").resolution <= 1e-6  # Windows: 16 ms
    return time.thread_time if threads == 1 and precise else time.perf_counter


def fastest(function: Callable[[], object], seconds: float, clock: Callable[[], float]) -> float:
    """Return the shortest time of a call, of at least two calls and of as many as fit in the given seconds."""
    function()
    shortest, total, calls = float("inf"), 0.0, 0
    while calls < 2 or total < seconds:
        begin = clock()
        function()
        elapsed = clock() - begin
        shortest, total, calls = min(shortest, elapsed), total + elapsed, calls + 1
    return shortest


def serve(threads: int, seconds: float) -> None:
    """Run a worker: answer each case's index with `{"seconds": ...}`, its fastest call, or with `{"error": ...}`."""
    import whisper_apr
    from whisper_apr import simd

    simd.set_num_threads(threads)
    print(json.dumps({"package": str(Path(whisper_apr.__file__).parent), "backend": simd.backend()}), flush=True)
    all_cases, prepared, clock = list(cases()), {}, clock_for(threads)
    for line in sys.stdin:
        i = json.loads(line)
        try:
            if i not in prepared:
                prepared[i] = all_cases[i].prepare()
            answer: dict[str, object] = {"seconds": fastest(prepared[i], seconds, clock)}
        except (AttributeError, ImportError, TypeError, ValueError) as error:  # another version of the API
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


# ---- the comparison -------------------------------------------------------------------------------------------------


def summarize(measured: Measured) -> dict[str, Ratio]:
    """Return each case's ratio, HEAD over BASE."""
    return {case: Ratio.of(head, base) for case, (base, head) in measured.items()}


def group_ratios(ratios: Mapping[str, Ratio], group_of: Mapping[str, str]) -> dict[str, float]:
    """Return each group's ratio: the median of its cases' median ratios."""
    groups: dict[str, list[float]] = {}
    for case, ratio in ratios.items():
        groups.setdefault(group_of[case], []).append(ratio.median)
    return {group: statistics.median(medians) for group, medians in groups.items()}


def exit_status(groups: Mapping[str, float], threshold: float) -> int:
    """Return 0 if no group's ratio is above the threshold, 1 if one is, and 2 if there are no groups."""
    if not groups:
        return 2
    return int(any(ratio > threshold for ratio in groups.values()))


def find_errors(workers: Sequence[Worker], chosen: Mapping[int, str]) -> dict[str, str]:
    """Run the cases `{index: label}` once in each worker; return the errors by label."""
    errors = {}
    for i, label in chosen.items():
        for worker, tree in zip(workers, ("BASE", "HEAD"), strict=True):
            answer = worker.ask(i)
            if "error" in answer:
                errors[label] = f"{tree}: {answer['error']}"
    return errors


def measure(
    workers: Sequence[Worker], chosen: Mapping[int, str], rounds: int, measured: dict[str, tuple[list[float], ...]]
) -> None:
    """Measure the cases `{index: label}` in all rounds, and append the seconds to `measured`."""
    for number in range(rounds):
        for i, label in chosen.items():
            seconds = in_turn([lambda worker=worker, i=i: worker.ask(i)["seconds"] for worker in workers], number)
            for times, one in zip(measured.setdefault(label, ([], [])), seconds, strict=True):
                times.append(one)
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, metavar="BASE", help="source tree to compare with")
    parser.add_argument("head", type=Path, metavar="HEAD", help="source tree to check")
    parser.add_argument("--build", action="store_true", help="build both extensions in place first")
    parser.add_argument("--rounds", type=int, default=5, help=f"at least {MIN_ROUNDS} (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.1, help="spent on a case in each turn (default: 0.1)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"highest ratio (default: {THRESHOLD})")
    parser.add_argument("--groups", nargs="+", metavar="GROUP", help="only groups whose names start with one of these")
    parser.add_argument("--json", type=Path, help="also write the times and ratios to this file")
    options = parser.parse_args()
    if options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds must be at least {MIN_ROUNDS}")
    every = list(cases())
    chosen = {
        i: f"{case.group}: {case.name}"
        for i, case in enumerate(every)
        if not options.groups or case.group.startswith(tuple(options.groups))
    }
    if not chosen:
        parser.error(f"--groups must name some of: {', '.join(dict.fromkeys(case.group for case in every))}")

    trees = (options.base, options.head)
    if options.build:
        for tree in trees:
            subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tree, check=True)
    sources = [source_of(tree) for tree in trees]
    command = (__file__, "--worker", str(options.threads), str(options.seconds))
    workers = [Worker(source, *command) for source in sources]
    print(f"backend {workers[1].greeting['backend']}, {options.threads} threads, {options.rounds} rounds\n")
    errors = find_errors(workers, chosen)
    chosen = {i: label for i, label in chosen.items() if label not in errors}
    group_of = {label: every[i].group for i, label in chosen.items()}
    measured: dict[str, tuple[list[float], ...]] = {}
    measure(workers, chosen, options.rounds, measured)
    groups = group_ratios(summarize(measured), group_of)
    if slow := [group for group, ratio in groups.items() if ratio > options.threshold]:
        print(f"measuring again: {', '.join(slow)}", file=sys.stderr)
        again = {i: label for i, label in chosen.items() if every[i].group in slow}
        measure(workers, again, options.rounds, measured)
    for worker in workers:
        worker.close()

    ratios = summarize(measured)
    groups = group_ratios(ratios, group_of)
    status = exit_status(groups, options.threshold)
    print(report(measured, ratios, groups, errors, options.threshold))
    if options.json:
        content = {"groups": groups, "ratios": {k: asdict(r) for k, r in ratios.items()}, "seconds": measured}
        options.json.write_text(json.dumps(content | {"errors": errors}, indent=1) + "\n")
    return status


def report(
    measured: Measured,
    ratios: Mapping[str, Ratio],
    groups: Mapping[str, float],
    errors: Mapping[str, str],
    threshold: float,
) -> str:
    """Return the result as text: a line for each case, each group, and each case that was skipped."""
    lines = [f"{'case':50} {'base, ms':>9} {'head, ms':>9} {'ratio':>6}  lowest - highest"]
    for case, ratio in ratios.items():
        base, head = (1000 * statistics.median(times) for times in measured[case])
        spread = f"{ratio.lowest:.3f} - {ratio.highest:.3f}"
        lines.append(f"{case:50} {base:9.4g} {head:9.4g} {ratio.median:6.3f}  {spread}")
    lines += ["", f"{'group':50} {'ratio':>6}"]
    for group, value in groups.items():
        lines.append(f"{group:50} {value:6.3f}" + (f"  SLOWER than {threshold:g}" if value > threshold else ""))
    lines += [f"skipped {case}: {error}" for case, error in errors.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve(int(sys.argv[2]), float(sys.argv[3]))
    else:
        sys.exit(main())
