"""Ten minutes of real speech, whole: this checkout beside another one, alternating; medians, and the spread of the rounds' ratios.

    WHISPER_APR_REAL_AUDIO=FOLDER python benchmarks/real_speech.py --against OTHER/src --threads 1 2 --rounds 7 --within 1.02

FOLDER holds the recordings that tests/real reads; the English ones are joined, cut to ten minutes, and written as one WAV file of 16 kHz, which
each side reads and transcribes. The models are fetched as tests/real/fetch_models.py says. Each side is a process that keeps its model, and in
every round the two take turns, the second one of a round going first in the next. Greedy decoding with a prompt of the text before, without
falling back unless `--fallback` is given, so that both sides do the same work: whether they found the same tokens is told in the last column.
The other checkout must have its extension built in place. Without `--against` this checkout alone is timed.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from itertools import product
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent.parent
ENGLISH = (
    *(
        "az_aboutSpeechSdk.wav",
        "wk_ted_60.m4a",
        "wt_apollo11.mp3",
        "jfk.flac",
        "pyannote_sample.wav",
        "fw_hotwords.mp3",
    ),
    *("LJ001-0001.flac", "LJ001-0003.flac", "sense_0870.wav", "sense_0920.wav", "lp_test.wav"),
    *(f"ami/{name}.flac" for name in ("dev00", "trn01", "trn02", "trn03", "trn05", "trn06", "trn07", "trn09", "tst00")),
)
SECONDS = 600
RATE = 16_000


class Side:
    """A process with one checkout's package, which transcribes the file each time that it is told to."""

    def __init__(self, source: Path, *arguments: str) -> None:
        command = [sys.executable, __file__, "--here", *arguments]
        environment = os.environ | {"PYTHONPATH": str(source)}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.found = self.answer()

    def answer(self) -> dict:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended with status {self.process.wait()}")
        return json.loads(line)

    def turn(self) -> float:
        """Seconds of one transcription."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.found = self.answer()
        return self.found["seconds"]

    def end(self) -> None:
        self.process.communicate()


def serve(model: str, kind: str, threads: str, options: str, file: str) -> None:
    """The process of a side: a line of JSON when the model is there, and one for each line that comes."""
    import whisper_apr
    from whisper_apr.simd import set_num_threads

    set_num_threads(int(threads))
    recognizer = whisper_apr.load_model(model, compute_type=kind)
    print(json.dumps({"package": str(Path(whisper_apr.__file__).parent)}), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        result = recognizer.transcribe(file, **json.loads(options))
        seconds = time.perf_counter() - begin
        tokens = [list(segment.tokens) for segment in result.segments]
        digest = hashlib.sha256(json.dumps(tokens).encode()).hexdigest()
        print(json.dumps({"seconds": seconds, "tokens": digest, "words": len(result.text.split())}), flush=True)


def write_joined(folder: Path, file: Path, seconds: float) -> None:
    """The English recordings one after the other, from the beginning again if need be, as 16-bit samples."""
    from whisper_apr import load_audio

    joined = np.concatenate([load_audio(folder / name) for name in ENGLISH])
    joined = np.resize(joined, round(seconds * RATE))
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((joined * 32767).clip(-32768, 32767).astype("<i2").tobytes())


def measure(sides: list[Side], rounds: int) -> dict[str, object]:
    """Every side's seconds in each round; the first transcription of each is not counted."""
    for side in sides:
        side.turn()
    times: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        for i in sorted(range(len(sides)), reverse=bool(number % 2)):
            times[i].append(sides[i].turn())
    row: dict[str, object] = {"seconds": times[0], "words": sides[0].found["words"]}
    if len(sides) > 1:
        ratios = [this / other for this, other in zip(*times, strict=True)]
        row |= {"other": times[1], "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        row["same"] = sides[0].found["tokens"] == sides[1].found["tokens"]
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--against", type=Path, help="the other checkout's folder src")
    parser.add_argument("--models", nargs="+", default=["base", "tiny.en"])
    parser.add_argument("--types", nargs="+", default=["float32", "int8"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of speech")
    parser.add_argument("--fallback", action="store_true", help="fall back as by default; what is drawn has seed 0")
    parser.add_argument("--within", type=float, help="fail where a median ratio is above this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    audio = os.environ.get("WHISPER_APR_REAL_AUDIO")
    if not audio or not Path(audio).is_dir():
        parser.error("WHISPER_APR_REAL_AUDIO must name the folder of the recordings")

    sys.path[:0] = [str(HERE / "src"), str(HERE / "tests" / "real")]
    from fetch_models import model_folder

    from whisper_apr.bench.measure import machine_line, table, write_json

    decoding = {"seed": 0} if options.fallback else {"temperature": 0.0}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "speech.wav")
        write_joined(Path(audio), file, options.seconds)
        for model, kind, threads in product(options.models, options.types, options.threads):
            arguments = (str(model_folder(model)), kind, str(threads), json.dumps(decoding), str(file))
            sources = [HERE / "src", *([options.against.resolve()] if options.against else [])]
            sides = [Side(source, *arguments) for source in sources]
            for side, source in zip(sides, sources, strict=True):
                if Path(side.found["package"]).parent != source:
                    parser.error(f"{source} was asked for, and {side.found['package']} was imported")
            rows.append({"model": model, "type": kind, "threads": threads} | measure(sides, options.rounds))
            for side in sides:
                side.end()
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(f"{options.seconds:.0f} s of speech, {options.rounds} rounds; {machine_line()}\n")
    head = ["model", "type", "threads", "this, s", "other, s", "this/other", "least", "most", "words", "same tokens"]
    print(table(head, [
        [row["model"], row["type"], row["threads"], statistics.median(row["seconds"]),
         statistics.median(row["other"]) if "other" in row else None,
         *(f"{row[key]:.3f}" if key in row else None for key in ("ratio", "least", "most")),
         row["words"], {True: "yes", False: "no", None: None}[row.get("same")]]
        for row in rows
    ]))  # fmt: skip
    if options.json:
        write_json(options.json, seconds=options.seconds, rows=rows)
    slow = [row for row in rows if options.within and row.get("ratio", 0) > options.within]
    for row in slow:
        print(
            f"{row['model']} {row['type']}, {row['threads']} threads: {row['ratio']:.3f} times, more than {options.within}"
        )
    return bool(slow)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        serve(*sys.argv[2:])
    else:
        sys.exit(main())
