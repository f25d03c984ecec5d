"""Print the dimensions, types, sizes and origin of a model. Every weight is read, and every block of an .apr file is
verified."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .arguments import add_model_dir, switch
from .models import megabytes
from .terminal import write_stdout

HELP = "describe and verify a model file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument("file", metavar="FILE", help="path or name of a model")
    switch(parser, "tensors", help="list the tensors, with mean and standard deviation (default: False)")
    add_model_dir(parser)


def _floats(weight: Any) -> np.ndarray:
    plain = weight if isinstance(weight, np.ndarray) or hasattr(weight, "dequantize") else weight.unpack()
    return plain if isinstance(plain, np.ndarray) else plain.dequantize()


def _size_on_disk(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def _count_verified_blocks(path: Path) -> int | None:
    """Verify the checksums of an .apr file of version 2 and return its number of blocks; None for any other file."""
    from ..formats.apr import is_version_2, verify_apr

    if not path.is_file():
        return None
    with open(path, "rb") as file:
        head = file.read(9)
    return verify_apr(path).fixed.n_block if head[:4] == b"APR1" and is_version_2(head) else None


def run(args: argparse.Namespace) -> int:
    """Print the description, and return the exit status."""
    from ..hub import find_checkpoint
    from ..tokenizer.bpe import unpack_vocabulary

    path = Path(args.file)
    n_block = _count_verified_blocks(path)
    checkpoint = find_checkpoint(args.file, None, args.model_dir)
    lines: list[str] = []
    types: dict[str, tuple[int, int]] = {}  # by type: number of tensors, and their bytes
    for name, weight in checkpoint.tensors.items():
        values, kind = _floats(weight), str(weight.dtype)
        count, size = types.get(kind, (0, 0))
        types[kind] = (count + 1, size + weight.nbytes)
        mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        shape = " x ".join(map(str, weight.shape))
        lines.append(f"{name:56}{kind:9}{shape:>14}{weight.nbytes:>12}{mean:>12.5f}{deviation:>12.5f}")
    rows = {key: str(value) for key, value in asdict(checkpoint.dims).items()}
    rows["alignment heads"] = " ".join(f"{layer}:{head}" for layer, head in checkpoint.alignment_heads) or "none"
    for kind, (count, size) in types.items():
        rows[kind] = f"{count} tensors, {megabytes(size)}"
    rows |= checkpoint.provenance
    rows["license"] = checkpoint.license or "unknown"
    if checkpoint.vocabulary:
        rows["vocabulary"] = f"custom, {len(unpack_vocabulary(checkpoint.vocabulary))} tokens besides special tokens"
    if (special := checkpoint.special_tokens) is not None:
        times = "timestamps" if special.n_timestamps else "no timestamps"
        rows["special tokens"] = f"custom, {len(special.languages)} languages, {times}, {len(special.added)} added"
    if path.exists():
        rows["file"] = f"{megabytes(_size_on_disk(path))}" + ("" if n_block is None else f", {n_block} blocks verified")
    write_stdout("".join(f"{key + ':':18}{value}\n" for key, value in rows.items()))
    if args.tensors:
        write_stdout(f"\n{'tensor':56}{'type':9}{'shape':>14}{'bytes':>12}{'mean':>12}{'deviation':>12}\n")
        write_stdout("".join(f"{line}\n" for line in lines))
    return 0
