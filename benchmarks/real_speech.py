"""Time the transcription of ten minutes of real speech, with this checkout and another one in alternation.

    export WHISPER_APR_REAL_AUDIO=FOLDER
    python benchmarks/real_speech.py --against OTHER --threads 1 2 --rounds 7 --within 1.02

FOLDER holds the recordings that tests/real uses. The English ones are concatenated, cut to ten minutes and written as
one 16 kHz WAV file, which each checkout reads and transcribes. tests/real/fetch_models.py tells how to get the models.
Each checkout has a process that keeps its model loaded; they take turns, in reverse order every other round. OTHER must
have its extension built in place. The table shows the medians of both, and the median, lowest and highest ratio of the
rounds. Without `--against`, only this checkout is timed.

Decoding is greedy, conditioned on the previous text and without temperature fallback (unless `--fallback` is given), so
that both do the same work; the last column tells whether they found the same tokens.

With `--batch-size N` this checkout decodes in batches. Without `--against`, it then takes turns with itself without
batches, so that the ratio is that of the two.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
import wave
from itertools import product
from pathlib import Path

import numpy as np

from alternating import Ratio, Worker, in_turn, source_of

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


def serve(model: str, kind: str, threads: str, options: str, file: str) -> None:
    """Run a worker: load the model, then transcribe the file once for each line of input."""
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
    """Write the English recordings, concatenated and repeated as needed, as 16-bit samples."""
    from whisper_apr import load_audio

    joined = np.concatenate([load_audio(folder / name) for name in ENGLISH])
    write_wav(file, np.resize(joined, round(seconds * RATE)))


def write_wav(file: Path, samples: np.ndarray) -> None:
    """Write samples at 16 kHz in 16 bits."""
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())


def recordings_folder(parser: argparse.ArgumentParser) -> Path:
    """Return the folder of the recordings, or end the program with an error if WHISPER_APR_REAL_AUDIO names none."""
    folder = os.environ.get("WHISPER_APR_REAL_AUDIO")
    if not folder or not Path(folder).is_dir():
        parser.error("set WHISPER_APR_REAL_AUDIO to the folder of the recordings")
    return Path(folder)


def measure(workers: list[Worker], rounds: int) -> dict[str, object]:
    """Return every worker's seconds in each round, and their ratios; the first transcription is not counted."""
    answers = [worker.ask(None) for worker in workers]
    turns = [
        in_turn([lambda worker=worker: worker.ask(None)["seconds"] for worker in workers], n) for n in range(rounds)
    ]
    times = list(zip(*turns, strict=True))
    row: dict[str, object] = {"seconds": times[0], "words": "/".join(str(answer["words"]) for answer in answers)}
    if len(workers) > 1:
        ratio = Ratio.of(times[0], times[1])
        row |= {"other": times[1], "ratio": ratio.median, "lowest": ratio.lowest, "highest": ratio.highest}
        row["same"] = answers[0]["tokens"] == answers[1]["tokens"]
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--against", type=Path, help="the other checkout")
    parser.add_argument("--models", nargs="+", default=["base", "tiny.en"])
    parser.add_argument("--types", nargs="+", default=["float32", "int8"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the speech (default: 600)")
    parser.add_argument("--fallback", action="store_true", help="with the default temperature fallback, and seed 0")
    parser.add_argument("--batch-size", type=int, help="windows that this checkout decodes at once")
    parser.add_argument("--vad-filter", action="store_true", help="leave out what is not speech")
    parser.add_argument("--within", type=float, help="fail if a median ratio is above this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    audio = recordings_folder(parser)

    sys.path[:0] = [str(HERE / "src"), str(HERE / "tests" / "real")]
    from fetch_models import model_folder

    from whisper_apr.bench.measure import machine_line, table, write_json

    decoding: dict[str, object] = {"seed": 0} if options.fallback else {"temperature": 0.0}
    decoding |= {"vad_filter": True} if options.vad_filter else {}
    batched = {"batch_size": options.batch_size} if options.batch_size else {}
    others = [options.against] if options.against else [HERE] if batched else []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "speech.wav")
        write_joined(audio, file, options.seconds)
        for model, kind, threads in product(options.models, options.types, options.threads):
            workers = [
                Worker(
                    source_of(tree),
                    *(__file__, "--worker", str(model_folder(model)), kind, str(threads), json.dumps(how), str(file)),
                )
                for tree, how in [(HERE, decoding | batched), *((tree, decoding) for tree in others)]
            ]
            rows.append({"model": model, "type": kind, "threads": threads} | measure(workers, options.rounds))
            for worker in workers:
                worker.close()
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(f"{options.seconds:.0f} s of speech, {options.rounds} rounds; {machine_line()}\n")
    head = [
        "model",
        "type",
        "threads",
        "this, s",
        "other, s",
        "this/other",
        "lowest",
        "highest",
        "words",
        "same tokens",
    ]
    print(table(head, [
        [row["model"], row["type"], row["threads"], statistics.median(row["seconds"]),
         statistics.median(row["other"]) if "other" in row else None,
         *(f"{row[key]:.3f}" if key in row else None for key in ("ratio", "lowest", "highest")),
         row["words"], {True: "yes", False: "no", None: None}[row.get("same")]]
        for row in rows
    ]))  # fmt: skip
    if options.json:
        write_json(options.json, seconds=options.seconds, rows=rows)
    slow = [row for row in rows if options.within and row.get("ratio", 0) > options.within]
    for row in slow:
        run = f"{row['model']} {row['type']}, {row['threads']} threads"
        print(f"{run}: ratio {row['ratio']:.3f} is above {options.within}")
    return bool(slow)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve(*sys.argv[2:])
    else:
        sys.exit(main())
