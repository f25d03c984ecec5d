"""Compare diarization with senko: errors, times and memory on meetings and on conversations with known turns.

    export WHISPER_APR_REAL_AUDIO=FOLDER
    python benchmarks/speakers.py --senko PYTHON --speakers 2 4 6 8 --seeds 0 1 --rounds 3 --threads 1

FOLDER holds the recordings that tests/real uses: excerpts of meetings with their turns, and the voices of which
`conversations.py` joins conversations, one for each number of speakers and each seed. PYTHON is the interpreter of an
environment with senko; without it, only whisper_apr is measured. The engines take turns, in reverse order every other
round, each time in a new process that diarizes all files. Errors are those of pyannote.metrics, without a collar and
with one of 0.25 s on each side of a turn's ends; each error is followed by its parts: missed speech, false alarms, and
confused speakers. Times are those of the processor and do not include loading.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alternating import Ratio, in_turn
from real_speech import recordings_folder

HERE = Path(__file__).resolve().parent.parent
RATE = 16_000
COLLARS = (0.0, 0.25)  # seconds
PARTS = ("missed detection", "false alarm", "confusion")


def load_ours(threads: int) -> Callable[[str], list[list[Any]]]:
    """Return a function that diarizes a file: -> [start, end, speaker] of each turn."""
    from whisper_apr.simd import set_num_threads
    from whisper_apr.speakers import diarize
    from whisper_apr.speakers.weights import load_diarizer

    set_num_threads(threads)
    load_diarizer()
    return lambda file: [list(turn) for turn in diarize(file).turns]


def load_senko(threads: int) -> Callable[[str], list[list[Any]]]:
    """Return a function as `load_ours` does."""
    import senko
    import torch

    torch.set_num_threads(threads)
    diarizer = senko.Diarizer(device="cpu", warmup=True, quiet=True)

    def run(file: str) -> list[list[Any]]:
        found = diarizer.diarize(file)
        segments = found["merged_segments"] if found else []
        return [[segment["start"], segment["end"], segment["speaker"]] for segment in segments]

    return run


ENGINES = {"whisper_apr": load_ours, "senko": load_senko}


def worker(name: str, threads: str, files: Sequence[str]) -> None:
    """Diarize all files, and print the turns, the seconds of the processor, and the peak memory in MB."""
    run = ENGINES[name](int(threads))
    begin = time.process_time()
    turns = [run(file) for file in files]
    seconds = time.process_time() - begin
    # as bench.measure.peak_memory, which an environment with another engine lacks
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({"turns": turns, "seconds": seconds, "peak": int(status["VmHWM"].split()[0]) / 1024}))


def write_files(folder: Path, audio: Path, speakers: Sequence[int], seeds: Sequence[int], seconds: float) -> Any:
    """Write the recordings as 16-bit WAV files of 16 kHz; return of each set the files and their turns."""
    import soundfile

    from conversations import conversation, voices
    from whisper_apr import load_audio
    from whisper_apr.speakers import read_rttm

    def written(name: str, samples: Any) -> str:
        file = folder / f"{name}.wav"
        soundfile.write(file, np.clip(samples, -1, 1), RATE, subtype="PCM_16")
        return str(file)

    meetings = [*sorted((audio / "ami").glob("*.flac")), audio / "pyannote_sample.wav"]
    sets = {"meetings": [(written(f.stem, load_audio(f)), read_rttm(f.with_suffix(".rttm")).turns) for f in meetings]}
    parts = voices(audio)
    for n in speakers:
        made = {seed: conversation(parts, n, seconds, seed) for seed in seeds}
        sets[f"{n} speakers"] = [(written(f"{n}-{seed}", x), known.turns) for seed, (x, known) in made.items()]
    return sets


def errors(files: Sequence[tuple[str, Any]], found: Sequence[Any], collar: float) -> list[float]:
    """Return the error of a set of files, and its parts, as shares of the speaking time."""
    import soundfile
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(turns: Sequence[Any]) -> Any:
        result = Annotation()
        for i, (start, end, speaker) in enumerate(turns):
            result[Segment(start, end), i] = speaker
        return result

    metric = DiarizationErrorRate(collar=2 * collar)  # its collar is that of both sides
    for (file, turns), hypothesis in zip(files, found, strict=True):
        length = soundfile.info(file).duration
        metric(annotation(turns), annotation(hypothesis), uem=Timeline([Segment(0, length)]))
    parts = [metric[part] / metric["total"] for part in PARTS]
    return [sum(parts), *parts]


def shown(values: Sequence[float]) -> str:
    """Return an error and its parts, in percent."""
    whole, *parts = (f"{100 * value:.1f}" for value in values)
    return f"{whole} ({' + '.join(parts)})"


def measure(python: str, name: str, threads: int, files: list[str]) -> Any:
    """Run a worker."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(HERE / "src")
    command = [python, __file__, "--worker", name, str(threads), *files]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--senko", metavar="PYTHON", help="the interpreter of an environment with senko")
    parser.add_argument("--speakers", nargs="+", type=int, default=[2, 4, 6, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--seconds", type=float, default=180, help="length of a conversation (default: 180)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    audio = recordings_folder(parser)

    sys.path.insert(0, str(HERE / "src"))
    from whisper_apr.bench.measure import machine_line, table, write_json

    pythons = {"whisper_apr": sys.executable} | ({"senko": options.senko} if options.senko else {})
    with tempfile.TemporaryDirectory() as folder:
        sets = write_files(Path(folder), audio, options.speakers, options.seeds, options.seconds)
        files = [file for each in sets.values() for file, _ in each]
        answers: dict[str, list[Any]] = {name: [] for name in pythons}

        def run(name: str) -> float:
            answers[name].append(measure(pythons[name], name, options.threads, files))
            done = {key: answers[name][-1][key] for key in ("seconds", "peak")}
            print(json.dumps({"engine": name} | done), file=sys.stderr, flush=True)
            return float(done["seconds"])

        runs = [lambda name=name: run(name) for name in pythons]
        times = [in_turn(runs, 0)]
        rows = []
        for name in pythons:
            turns = dict(zip(files, answers[name][0]["turns"], strict=True))
            for title, known in sets.items():
                found = [turns[file] for file, _ in known]
                rows.append([title, name, *(errors(known, found, collar) for collar in COLLARS)])
        head = ["recordings", "engine", "error, %", "with a collar, %"]
        print(table(head, [[*row[:2], *map(shown, row[2:])] for row in rows]), flush=True)
        times += [in_turn(runs, n) for n in range(1, options.rounds)]
    print(f"\n{options.rounds} rounds, {options.threads} threads; {machine_line()}")
    columns = list(zip(*times, strict=True))
    for name, seconds in zip(pythons, columns, strict=True):
        peak = max(answer["peak"] for answer in answers[name])
        print(f"\n{name}: {statistics.median(seconds):.1f} s of the processor, peak {peak:.0f} MB", end="")
    if len(columns) > 1:
        ratio = Ratio.of(columns[1], columns[0])
        print(f"\nsenko / whisper_apr: {ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})", end="")
    print()
    if options.json:
        write_json(options.json, rows=rows, times=times)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
