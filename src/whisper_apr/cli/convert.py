"""Convert a model of any supported format to an .apr file, and quantize it if asked to."""

import argparse
import os
from typing import TYPE_CHECKING

from ..atomic import check_writable
from .arguments import add_model_dir, option
from .models import megabytes
from .progress import Status, Tally
from .terminal import output_errors, write_stdout

if TYPE_CHECKING:
    from ..evaluation import Recording

HELP = "convert a model to an .apr file"
DTYPES = ("float32", "float16", "int8", "int4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="name or path of a model: .apr, .pt, safetensors, ggml, or a Hugging Face or CTranslate2 folder",
    )
    parser.add_argument("target", metavar="OUT.apr", help="file to write")
    option(parser, "dtype", choices=DTYPES, help="type of the weight matrices (default: as in the source)")
    option(
        parser,
        "compress",
        action="store_true",
        help="compress with LZ4: a smaller file that takes longer to open (needs the package lz4)",
    )
    option(parser, "license", metavar="TEXT", help="license to record in the file (default: the source's)")
    option(
        parser,
        "eval",
        metavar="FOLDER",
        help="compare the file with the source in float32 on the recordings of a folder, as the command `eval` does",
    )
    add_model_dir(parser)


def run(args: argparse.Namespace) -> int:
    """Convert the model, print the file's path and size, and return the exit status."""
    from ..formats.apr import write_apr
    from ..hub import describe_source, find_checkpoint

    recordings = None
    if args.eval is not None:
        from ..evaluation import find_recordings

        recordings = find_recordings(args.eval)  # now, and not after minutes of converting
    with output_errors(args.target):
        check_writable(args.target)
    with Status() as status:
        status.show(f"loading {args.source}")
        # exact: dequantize a quantized file directly to floats, without int8 in between
        checkpoint = find_checkpoint(args.source, None, args.model_dir, exact=args.dtype in ("float32", "float16"))
        provenance = checkpoint.provenance or {"source": describe_source(args.source)}
        status.show(f"writing {args.target}")
        with output_errors(args.target):
            write_apr(checkpoint, args.target, args.dtype, args.compress, provenance, args.license)
    size = f": {megabytes(os.path.getsize(args.target))}" if os.path.isfile(args.target) else ""
    write_stdout(f"{args.target}{size}\n")
    return 0 if recordings is None else _evaluate(args, recordings)


def _evaluate(args: argparse.Namespace, recordings: "list[Recording]") -> int:
    """Compare the file with the source in float32, print the tables, and return the exit status."""
    from ..recognizer import load_model
    from .eval import measure

    tally = Tally()
    with Status() as status:
        status.show(f"loading {args.target}")
        source = load_model(args.source, download_root=args.model_dir, compute_type="float32")
        models = {"source": source, "file": load_model(args.target)}
        report = measure(models, source, recordings, {"temperature": 0.0}, status, tally)
    write_stdout(f"{report.totals()}\n")
    return 1 if tally.n_failed else 0
