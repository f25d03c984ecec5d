"""Measure how soon the words of live speech settle, and what that costs, on real speech at the pace of its recording.

    export WHISPER_APR_REAL_AUDIO=FOLDER
    python benchmarks/live.py --steps 0.5 1 --seconds 300

FOLDER holds the recordings that tests/real uses; the English ones are concatenated, as in real_speech.py. The clock is
simulated, so that nothing waits for the audio: a block of audio arrives at each `--block` seconds, and a call of `push`
takes all blocks that have arrived by the time the call before it returned. A call takes the time that was measured for
it: on the wall clock or, with `--clock cpu`, the CPU time of all threads together, which on a busy machine is the more
reliable one and an upper bound for a machine that does nothing else.

The latency of a word is the time from its end in the audio, by its own word time, to the return of the call that
settled it. The table shows, for each step:

- median, 95th percentile and maximum of the latencies, in seconds;
- the part of one core that was busy: CPU time over the duration of the audio;
- early errors: words that settled differently from their utterance's final text, in percent of its words;
- words that settled, and words that `transcribe` finds in the whole recording.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real_speech import RATE, recordings_folder, write_joined

HERE = Path(__file__).resolve().parent.parent
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass
class Measured:
    """A live transcription."""

    latencies: list[float]  # of each settled word, in seconds
    cpu: float  # seconds
    settled: str
    final: str  # the utterances' final texts


def transcribe_live(transcriber, audio: np.ndarray, block: float, clock) -> Measured:
    """Push a recording in blocks, at the simulated pace of its recording."""
    now, n_pushed, size = 0.0, 0, round(block * RATE)
    latencies, settled, final = [], [], []
    cpu = time.process_time()
    while n_pushed < len(audio):
        n_arrived = int(now * RATE / size) * size
        if n_arrived <= n_pushed:  # wait for the next block
            n_arrived = n_pushed + size
            now = n_arrived / RATE
        n_arrived = min(n_arrived, len(audio))
        begin = clock()
        text = transcriber.push(audio[n_pushed:n_arrived])
        now += clock() - begin
        n_pushed = n_arrived
        latencies += [now - word.end for word in text.settled]
        settled.append(text.settled_text)
        final += [utterance.text for utterance in text.ended]
    begin = clock()
    text = transcriber.finish()
    now += clock() - begin
    latencies += [now - word.end for word in text.settled]
    settled.append(text.settled_text)
    final += [utterance.text for utterance in text.ended]
    return Measured(latencies, time.process_time() - cpu, "".join(settled), "".join(final))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", default="base")
    parser.add_argument("--type", default="int8", help="compute type (default: int8)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", nargs="+", type=float, default=[0.5], help="seconds of new speech between updates")
    parser.add_argument("--settle", nargs="+", default=["local-agreement"])
    parser.add_argument("--block", type=float, default=0.1, help="seconds of audio that arrive at once (default: 0.1)")
    parser.add_argument("--seconds", type=float, default=300, help="length of the speech (default: 300)")
    parser.add_argument("--language", default="en", help="language spoken, or auto to detect it (default: en)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = recordings_folder(parser)

    sys.path[:0] = [str(HERE / "src"), str(HERE / "tests" / "real")]
    from fetch_models import model_folder

    import whisper_apr
    from whisper_apr.bench.measure import machine_line, table, write_json
    from whisper_apr.evaluation import count_edits, words_of
    from whisper_apr.simd import set_num_threads

    set_num_threads(options.threads)
    model = whisper_apr.load_model(model_folder(options.model), compute_type=options.type)
    language = None if options.language == "auto" else options.language
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "speech.wav")
        write_joined(Path(folder), file, options.seconds)
        audio = whisper_apr.load_audio(file)
    n_whole = len(words_of(model.transcribe(audio, language=language, seed=0).text, "en"))
    rows = []
    for settle in options.settle:
        for step in options.steps:
            transcriber = whisper_apr.LiveTranscriber(model, step=step, settle=settle, language=language, seed=0)
            found = transcribe_live(transcriber, audio, options.block, CLOCKS[options.clock])
            settled, final = words_of(found.settled, "en"), words_of(found.final, "en")
            median, late, latest = np.percentile(found.latencies, [50, 95, 100]).round(2).tolist()
            rows.append(
                {"settle": settle, "step": step, "median": median, "p95": late, "max": latest}
                | {"cores": found.cpu / options.seconds, "words": len(settled), "whole": n_whole}
                | {"early_errors": 100 * count_edits(final, settled).errors / max(1, len(final))}
            )
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(
        f"{options.seconds:.0f} s of speech, {options.model} {options.type}, {options.threads} threads, "
        f"{options.clock} clock; {machine_line()}\n"
    )
    head = ["settle", "step, s", "median, s", "95 %, s", "max, s", "cores", "early errors, %", "words", "transcribe"]
    keys = ("settle", "step", "median", "p95", "max", "cores", "early_errors", "words", "whole")
    print(table(head, [[row[key] for key in keys] for row in rows]))
    if options.json:
        write_json(options.json, seconds=options.seconds, rows=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
