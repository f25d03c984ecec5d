"""Measure the stages of one window, as `whisper-apr bench` does.

    python benchmarks/pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2 \
        --json docs/performance/pipeline.json
"""

import argparse

from whisper_apr.bench import pipeline
from whisper_apr.bench.measure import machine_line

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    pipeline.add_arguments(parser)
    print(machine_line())
    pipeline.run(parser.parse_args())
