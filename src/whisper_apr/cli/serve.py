"""Serve transcriptions with OpenAI's audio API: POST /v1/audio/transcriptions and /v1/audio/translations. Needs the
extra server: pip install 'whisper-apr[server]'."""

import argparse
import os
import re
import socket
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from typing import Any

from ..errors import OptionError, WhisperAprError
from ..inference.options import AUDIO_CONTEXTS, split_options
from .arguments import add_model_options, model_from_args, option, optional, positive, switch
from .terminal import write_stdout

HELP = "serve transcriptions with OpenAI's audio API"

KEY_VARIABLE = "WHISPER_APR_API_KEY"
REQUIRED = ("starlette", "uvicorn", "python_multipart", "websockets", "wyoming")  # modules of the extra


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) <= 1e6:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1e6, not {text}")
    return seconds


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {port}")
    return port


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an address and a port such as 0.0.0.0:10300, not {text!r}")
    return host.strip("[]"), _port(port)


def _origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"https?://[^/\s]+", text):
        raise argparse.ArgumentTypeError(f"must be * or an origin such as https://example.org, not {text!r}")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    add_model_options(parser)
    option(
        parser,
        "model-id",
        metavar="NAME",
        help="name of the model in the API (default: the last part of --model); whisper-1 is accepted, too",
    )
    option(parser, "host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)")
    option(
        parser,
        "port",
        type=_port,
        default=8000,
        metavar="N",
        help="port to listen on; 0: any free one (default: 8000)",
    )
    option(
        parser,
        "wyoming",
        type=_address,
        metavar="HOST:PORT",
        help="also serve the Wyoming protocol for Home Assistant, on this address (default: no)",
    )
    option(
        parser,
        "api-key",
        action="append",
        metavar="KEY",
        help="key that requests must have; may be given several times (default: the environment variable "
        f"{KEY_VARIABLE}, or none)",
    )
    option(
        parser,
        "cors-origin",
        action="append",
        type=_origin,
        metavar="ORIGIN",
        help="origin of another site whose pages may use the server, such as https://example.org, or * for all; may "
        "be given several times (default: none)",
    )
    option(parser, "max-upload", type=positive, default=256, metavar="N", help="largest request, in MiB (default: 256)")
    option(
        parser,
        "max-requests",
        type=positive,
        default=32,
        help="requests that are uploaded, waiting or running at once; others are refused (default: 32)",
    )
    option(
        parser,
        "max-sessions",
        type=positive,
        default=4,
        help="live sessions (WebSockets) at once; others are refused (default: 4)",
    )
    option(
        parser,
        "batch-size",
        type=positive,
        default=8,
        help="windows of different requests that are decoded at once (default: 8)",
    )
    option(
        parser,
        "timeout",
        type=_seconds,
        default=3600.0,
        metavar="X",
        help="seconds after which a request is ended (default: 3600)",
    )
    option(
        parser,
        "stop-timeout",
        type=_seconds,
        default=30.0,
        metavar="X",
        help="seconds that running requests are given when the server is stopped (default: 30)",
    )
    option(
        parser,
        "log-format",
        choices=("text", "json"),
        default="text",
        help="log as lines of text or as JSON objects (default: text)",
    )
    group = parser.add_argument_group("decoding")
    option(
        group,
        "beam-size",
        type=optional(int),
        help="number of beams at temperature 0, or None for greedy decoding (default: None)",
    )
    option(
        group,
        "seed",
        type=optional(int),
        help="seed of the sampling, so that equal requests have equal texts; None: random (default: None)",
    )
    option(
        group,
        "audio-context",
        choices=AUDIO_CONTEXTS,
        default="full",
        help="pad short windows to 30 s (full), or to 4 s more than the sound, which is several times as fast (auto; "
        "default: full)",
    )
    switch(
        group,
        "hallucination-filter",
        help="leave out text that nobody says; verbose_json lists it as dropped (default: False)",
    )


def _model_id(name: str) -> str:
    """Return the last part of a name, path or URL, without the suffix."""
    last = name.partition("?")[0].replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.removesuffix(".apr") or name


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it, and return the exit status."""
    if missing := [name for name in REQUIRED if find_spec(name) is None]:
        raise WhisperAprError(
            f"the server needs the extra server, of which {', '.join(missing)} is missing: "
            "pip install 'whisper-apr[server]'"
        )
    from ..server import logs
    from ..server.http_server import Server, listen
    from ..server.memory import limit_unused_memory
    from ..server.settings import Settings

    keys = args.api_key or [key for key in (os.environ.get(KEY_VARIABLE),) if key]
    if not all(keys):
        raise OptionError("--api-key must not be empty")
    names = ("audio_context", "beam_size", "hallucination_filter", "seed")
    decoding: dict[str, Any] = {name: getattr(args, name) for name in names}
    split_options(decoding)  # check them before the model is loaded
    settings = Settings(
        model_id=args.model_id or _model_id(args.model),
        api_keys=tuple(keys),
        cors_origins=tuple(args.cors_origin or ()),
        max_upload=args.max_upload << 20,
        max_requests=args.max_requests,
        max_sessions=args.max_sessions,
        batch_size=args.batch_size,
        timeout=args.timeout,
        stop_timeout=args.stop_timeout,
        decoding=decoding,
    )
    limit_unused_memory()  # before there are threads
    with ExitStack() as sockets:
        listening = sockets.enter_context(listen(args.host, args.port, "--host and --port"))
        wyoming = None
        if args.wyoming:
            host, port = args.wyoming
            wyoming = sockets.enter_context(listen(host, port, "--wyoming"))
        model = model_from_args(args)
        logs.configure(args.log_format)
        write_stdout(f"serving {settings.model_id} at http://{_shown(listening)}/v1; press Ctrl-C to stop\n")
        if wyoming:
            write_stdout(f"serving the Wyoming protocol at tcp://{_shown(wyoming)}\n")
        with suppress(KeyboardInterrupt):  # the signal that ended it, which uvicorn raises again
            Server(model, settings, wyoming).run(sockets=[listening])
    return 0


def _shown(listening: socket.socket) -> str:
    """Return the address of a socket as URLs have it."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
