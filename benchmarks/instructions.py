"""Compare the instructions that two source trees execute for a token, and fail if HEAD executes more.

    python benchmarks/instructions.py BASE HEAD [--threshold 1.03] [--backend avx2] [--types int8 ...]

BASE and HEAD are checkouts whose extension is built in place. The count is exact and nearly the same on each run,
whatever else the machine does, which times are not. It says nothing about memory or about instructions that take long,
so it complements compare.py. Needs valgrind, which knows no AVX-512: the backend is avx2, neon or sse2.

Each tree generates tokens with the bundled digits model under `valgrind --tool=callgrind`, once few and once many; the
difference contains no start-up. It includes Python's own instructions. The exit status is 1 if a count has grown by
more than the threshold.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from alternating import source_of

FEW, MANY = 10, 60
THRESHOLD = 1.03  # the hash seed and the addresses of objects change counts by less than 1 %


# ---- in the process that is counted ---------------------------------------------------------------------------------


def generate(compute_type: str, n: int) -> None:
    """Generate n tokens with the digits model, from an encoder's output that is random, since only tokens count."""
    import numpy as np

    from whisper_apr import load_model, simd
    from whisper_apr.bench.pipeline import greedy_tokens

    simd.set_num_threads(1)
    model = load_model("digits", compute_type=compute_type)
    shape = (1, model.dims.n_audio_ctx, model.dims.n_audio_state)
    greedy_tokens(model, np.random.default_rng(0).standard_normal(shape, dtype=np.float32), n)


# ---- the comparison -------------------------------------------------------------------------------------------------


def read_total(text: str) -> int:
    """Return the number of instructions in a file that callgrind wrote.

    Raises:
        SystemExit: The file does not contain it.
    """
    match = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    if match is None:
        raise SystemExit("callgrind wrote no total; see its output above")
    return int(match[1])


def count(source: Path, backend: str, compute_type: str, n: int) -> int:
    """Return the instructions of a process that generates n tokens."""
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONHASHSEED": "0", "WHISPER_APR_BACKEND": backend}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        subprocess.run(
            [*valgrind, sys.executable, __file__, "--worker", compute_type, str(n)], env=environment, check=True
        )
        return read_total(out.read_text())


def per_token(source: Path, backend: str, compute_type: str) -> float:
    """Return the instructions of a token."""
    few, many = (count(source, backend, compute_type, n) for n in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def report(counts: Mapping[str, tuple[float, float]], threshold: float) -> tuple[str, int]:
    """Return a table of BASE's and HEAD's counts, and the exit status."""
    lines = [f"{'instructions of a token':24} {'base':>12} {'head':>12} {'ratio':>6}"]
    status = 0
    for name, (base, head) in counts.items():
        ratio = head / base
        lines.append(f"{name:24} {base:12,.0f} {head:12,.0f} {ratio:6.3f}" + ("  MORE" if ratio > threshold else ""))
        status |= ratio > threshold
    return "\n".join(lines), int(status)


def main() -> int:
    default = "avx2" if platform.machine().lower() in ("x86_64", "amd64") else "neon"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, metavar="BASE", help="source tree to compare with")
    parser.add_argument("head", type=Path, metavar="HEAD", help="source tree to check")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help=f"highest ratio (default: {THRESHOLD})")
    parser.add_argument("--backend", default=default, help=f"one that valgrind can run (default: {default})")
    parser.add_argument("--types", nargs="+", default=["float32", "int8"], help="compute types (default: float32 int8)")
    options = parser.parse_args()
    sources = [source_of(tree) for tree in (options.base, options.head)]
    counts = {}
    for compute_type in options.types:
        base, head = (per_token(source, options.backend, compute_type) for source in sources)
        counts[f"{compute_type} on {options.backend}"] = base, head
    text, status = report(counts, options.threshold)
    print(text)
    return status


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        generate(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
