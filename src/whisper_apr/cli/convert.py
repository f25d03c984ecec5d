"""Convert a model of any supported format to an .apr file, and quantize it if asked to."""

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..atomic import check_writable
from ..errors import OptionError
from .arguments import add_model_dir, option
from .models import megabytes
from .progress import Status, Tally
from .terminal import output_errors, write_stdout

if TYPE_CHECKING:
    from ..evaluation import Recording
    from ..mixed import Calibration
    from .inputs import Input

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
    option(
        parser,
        "calibrate",
        nargs="+",
        metavar="FILE",
        help="recordings, or folders of them, on which int4 is to have the least error: minutes of speech like yours",
    )
    add_model_dir(parser)


def run(args: argparse.Namespace) -> int:
    """Convert the model, print the file's path and size, and return the exit status."""
    from ..formats.apr import write_apr
    from ..hub import describe_source, find_checkpoint

    inputs = _calibration_inputs(args)
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
        calibration = _calibrate(args, inputs, status) if inputs else None
        provenance = checkpoint.provenance or {"source": describe_source(args.source)}
        status.show(f"writing {args.target}")
        with output_errors(args.target):
            write_apr(checkpoint, args.target, args.dtype, args.compress, provenance, args.license, calibration)
    size = f": {megabytes(os.path.getsize(args.target))}" if os.path.isfile(args.target) else ""
    write_stdout(f"{args.target}{size}\n")
    return 0 if recordings is None else _evaluate(args, recordings)


def _calibration_inputs(args: argparse.Namespace) -> "list[Input]":
    """Return the recordings to calibrate with: found now, and not after the model was loaded."""
    from .inputs import find_inputs

    if args.calibrate is None:
        return []
    if args.dtype != "int4":
        raise OptionError("--calibrate has an effect with --dtype int4 only; add that, or leave it out")
    inputs, problems = find_inputs(args.calibrate)
    if problems:
        path, reason = problems[0]
        raise OptionError(f"{path}: {reason}")
    return inputs


def _calibrate(args: argparse.Namespace, inputs: "list[Input]", status: Status) -> "Calibration":
    """Measure the inputs of the source's matrices, in float32."""
    from ..evaluation import calibrate
    from ..recognizer import load_model

    def sources() -> Iterator[Any]:
        for i, each in enumerate(inputs):
            status.show(f"calibrating {i + 1}/{len(inputs)} {each.label}")
            yield each.source()

    model = load_model(args.source, download_root=args.model_dir, compute_type="float32")
    return calibrate(model, sources(), check_cancelled=status.tick)


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
