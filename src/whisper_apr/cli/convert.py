"""Write a model of any kind as an .apr file, in the type of number that is asked for."""

import argparse
import os

from ..atomic import check_writable
from .arguments import option
from .models import megabytes
from .progress import Status
from .terminal import out, writing

HELP = "write a model as an .apr file"
DTYPES = ("float32", "float16", "int8", "int4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="a model's name or path: .apr, .pt, safetensors, ggml, a folder"
    )
    parser.add_argument("target", metavar="OUT.apr", help="the file to write")
    option(parser, "dtype", choices=DTYPES, help="of the matrices (default: as they are)")
    option(
        parser,
        "compress",
        action="store_true",
        help="LZ4: smaller, but unpacked when it is opened (needs the lz4 package)",
    )
    option(parser, "license", metavar="TEXT", help="to keep in the file (default: what the source says)")
    option(parser, "model-dir", help="folder for models that are fetched (default: huggingface_hub's cache)")


def run(args: argparse.Namespace) -> int:
    from ..formats.apr import write_apr
    from ..hub import describe_source, find_checkpoint

    with writing(args.target):
        check_writable(args.target)
    with Status() as status:
        status.say(f"loading {args.source}")
        # exact: from a quantized file straight to floats, without int8 in between
        checkpoint = find_checkpoint(args.source, None, args.model_dir, exact=args.dtype in ("float32", "float16"))
        provenance = checkpoint.provenance or {"source": describe_source(args.source)}
        status.say(f"writing {args.target}")
        with writing(args.target):
            write_apr(checkpoint, args.target, args.dtype, args.compress, provenance, args.license)
    size = f": {megabytes(os.path.getsize(args.target))}" if os.path.isfile(args.target) else ""
    out(f"{args.target}{size}\n")
    return 0
