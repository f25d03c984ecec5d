"""Caption raw 16-bit samples from standard input while they arrive.

arecord -q -f S16_LE -r 16000 -c 1 | python live_captions.py --model base
"""

import argparse
import sys

import numpy as np

import whisper_apr

BLOCK = 3200  # bytes: 0.1 s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--rate", type=int, default=16_000, help="sampling rate in Hz")
    args = parser.parse_args()

    live = whisper_apr.LiveTranscriber(whisper_apr.load_model(args.model), sampling_rate=args.rate)
    while block := sys.stdin.buffer.read(BLOCK):
        text = live.push(np.frombuffer(block[: len(block) // 2 * 2], np.int16))
        print(text.settled_text, end="", flush=True)
        if sys.stderr.isatty():
            print(f"\033[2m{text.tentative_text}\033[0m\033[K", end="\r", file=sys.stderr)
    print(live.finish().settled_text)


if __name__ == "__main__":
    main()
