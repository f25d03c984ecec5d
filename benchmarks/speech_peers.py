"""Compare with other engines on ten minutes of real speech: published weights, a separate process for each measurement.

    export WHISPER_APR_REAL_AUDIO=FOLDER
    export WHISPER_CPP=BUILD/bin/whisper-cli WHISPER_CPP_AVX2=BUILD2/bin/whisper-cli
    python benchmarks/speech_peers.py --models base tiny.en --threads 1 2 --json docs/performance/speech.json

FOLDER holds the recordings that tests/real uses; the English ones are concatenated and cut to ten minutes
(real_speech.py). Engines alternate round by round. `seconds` is the time of a transcription without loading the model,
`with load` includes it, each the first in its process; whisper.cpp is a program, which loads the model each time, so
from its `seconds` the time for silence of 10 ms is subtracted. `peak` is the peak memory of the process in MB. `lost`
is the number of words of whisper_apr's float32 text for which the engine has none, `words` the number it has.

With `--avx2`, every engine that can be told to uses AVX2 alone; WHISPER_CPP_AVX2 is a program built so.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from processes import last_line
from real_speech import HERE, RATE, SECONDS, recordings_folder, write_joined, write_wav
from speech_engines import ENGINES, write_models

Row = dict[str, object]
BATCH = 8
TIMEOUT = 1800  # seconds for one measurement
KEY = ("model", "threads", "engine", "type", "batch", "avx2")


def measure(engine: str, models: str, model: str, compute_type: str, threads: str, batch: str, file: str) -> None:
    """Run one measurement and print it as JSON."""
    begin = time.perf_counter()
    transcribe = ENGINES[engine].open(Path(models), model, compute_type, int(threads))
    loaded = time.perf_counter()
    text = transcribe(file, int(batch) or None)
    end = time.perf_counter()
    load = loaded - begin
    if ENGINES[engine].package is None:
        load = _seconds_of_silence(transcribe)
    from whisper_apr.bench.measure import peak_memory  # last: it adds to the memory of other engines

    program = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak = max(peak_memory() or 0, program) / 2**20
    whole = end - begin
    print(json.dumps({"seconds": whole - load, "with load": whole, "peak": peak, "text": text}))


def _seconds_of_silence(transcribe) -> float:
    """Return the seconds that a program takes for 10 ms of silence, which it does not decode."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "silence.wav")
        write_wav(file, np.zeros(RATE // 100))
        begin = time.perf_counter()
        transcribe(str(file), None)
        return time.perf_counter() - begin


def cases(names: list[str], models: list[str], types: list[str], threads: list[int], avx2: bool) -> list[Row]:
    """Return what a round measures: every engine with the types that it has, in batches too if it can."""
    found = []
    for model, count, name, compute_type in product(models, threads, names, types):
        engine = ENGINES[name]
        # float16 is whisper.cpp's type beside the others' float32
        own = "float16" if compute_type == "float32" and "float16" in engine.compute_types else compute_type
        if own in engine.compute_types and (engine.avx2 is not None or not avx2):
            for batch in (0, BATCH) if engine.batches else (0,):
                found.append(dict(zip(KEY, (model, count, name, own, batch, avx2), strict=True)))
    return found


def run(case: Row, models: Path, file: Path) -> dict:
    """Measure one case in a process of its own.

    Raises:
        RuntimeError: It failed or timed out.
    """
    environment = os.environ | ((ENGINES[str(case["engine"])].avx2 or {}) if case["avx2"] else {})
    arguments = [case["engine"], models, case["model"], case["type"], case["threads"], case["batch"], file]
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    return json.loads(last_line(command, TIMEOUT, environment))


def earlier(file: Path | None, seconds: float) -> list[Row]:
    """Return the rows of an earlier run, which this one continues.

    Raises:
        SystemExit: It was measured on another machine, with other versions, or on speech of another length.
    """
    from whisper_apr.bench.measure import machine

    if not file or not file.exists():
        return []
    data = json.loads(file.read_text())
    if (data["machine"], data["seconds"]) != (machine(), seconds):
        raise SystemExit(f"{file} was measured on other speech, on another machine or with other versions")
    return data["rows"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--models", nargs="+", default=["base", "tiny.en"])
    parser.add_argument("--types", nargs="+", default=["float32", "int8"], choices=("float32", "int8"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--avx2", action="store_true", help="with AVX2 alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the speech (default: 600)")
    parser.add_argument("--folder", type=Path, help="folder for the engines' files (default: a temporary one)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    audio = recordings_folder(parser)
    with tempfile.TemporaryDirectory() as temporary:
        compare(options, audio, Path(temporary))


def compare(options: argparse.Namespace, audio: Path, temporary: Path) -> None:
    sys.path.append(str(HERE / "tests" / "real"))
    from fetch_models import model_folder

    from whisper_apr.bench.measure import machine_line, table, write_json
    from whisper_apr.evaluation import count_edits, words_of

    rows = earlier(options.json, options.seconds)
    models, file = options.folder or temporary, temporary / "speech.wav"
    write_joined(audio, file, options.seconds)
    failures = {name: "not installed" for name in options.engines if not ENGINES[name].available()}
    references = {}
    for model in options.models:
        failures |= write_models(models, model, model_folder(model), [n for n in options.engines if n not in failures])
        exact = dict(zip(KEY, (model, os.cpu_count(), "whisper_apr", "float32", 0, False), strict=True))
        references[model] = words_of(run(exact, models, file)["text"], "en")
    failed = [f"{name}: {message}" for name, message in failures.items()]
    names = [name for name in options.engines if name not in failures]
    for number in range(options.rounds):
        for case in cases(names, options.models, options.types, options.threads, options.avx2):
            row = next((row for row in rows if case.items() <= row.items()), None)
            if row and len(row["measured"]) > number:
                continue
            try:
                found = run(case, models, file)
            except RuntimeError as error:
                failed.append(f"{', '.join(map(str, case.values()))}: {error}")
                print(f"failed: {failed[-1]}", file=sys.stderr)
                continue
            heard = words_of(found.pop("text"), "en")
            found |= {"words": len(heard), "lost": count_edits(references[case["model"]], heard).deletions}
            if row is None:
                rows.append(row := {**case, "measured": []})
            row["measured"].append(found)
            print(f"round {number + 1}: {', '.join(map(str, case.values()))}: {found}", file=sys.stderr)
            if options.json:
                write_json(options.json, seconds=options.seconds, rows=rows, failed=failed)
    print(f"{options.seconds:.0f} s of speech; {machine_line()}\n")
    print(table(HEAD, [line(row) for row in rows]))
    print("\nfailed:\n" + "\n".join(failed) if failed else "")


HEAD = (*KEY, "rounds", "seconds", "lowest", "highest", "with load", "peak", "words", "lost")


def line(row: Row) -> list[object]:
    """Return the cells of a row for HEAD: medians, and the range of the seconds."""
    measured = row["measured"]
    seconds = [found["seconds"] for found in measured]
    times = (statistics.median(seconds), min(seconds), max(seconds))
    others = [statistics.median(found[name] for found in measured) for name in HEAD[-4:]]
    return [*(row[key] for key in KEY), len(measured), *times, *others]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(*sys.argv[2:])
    else:
        main()
