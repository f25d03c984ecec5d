"""Transcribe a corpus of up to millions of recordings with many workers, on this machine or a Ray cluster. Results are
records in shards, files of JSON lines or Parquet that appear in a folder as they are complete; the same command goes on
where a run ended. An INPUT is a recording, a folder, a pattern, a manifest (.jsonl, .csv, .tsv or .parquet with the
columns path or url and, if wanted, id and language), or a WebDataset tar. Windows are decoded independently of each
other, as with --batch-size of the command transcribe."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .arguments import add_model_options, not_negative, option, positive
from .decoding import READING_OPTIONS, add_decoding_options, decoding_options
from .inputs import STDIN, find_inputs
from .progress import Status, clock
from .terminal import output_errors, print_message, write_stdout

if TYPE_CHECKING:
    from ..corpus.run import Run
    from ..corpus.shards import Record
    from ..corpus.tasks import Engine
    from ..corpus.work import Settings

HELP = "transcribe thousands of hours with many workers, on this machine or a Ray cluster"

BATCH_SIZE = 8
MAX_SHOWN = 20  # failures that are printed; all are in the records
N_LANGUAGE = 10  # languages that the report on the terminal lists


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()) or not 1 <= int(number) <= int(count) <= 10**6:
        raise argparse.ArgumentTypeError(f"must be a number and a count such as 1/16, not {text!r}")
    return int(number) - 1, int(count)


def _above_0(text: str) -> float:
    if not 0 < (number := float(text)) <= 1e6:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1e6, not {text}")
    return number


def _above_0_or_none(text: str) -> float | None:
    return None if text == "None" else _above_0(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `corpus`."""
    parser.add_argument(
        "input", nargs="+", metavar="INPUT", help="recording, folder, quoted pattern, manifest, or WebDataset tar"
    )
    option(parser, "no-recursive", action="store_true", help="skip the subfolders of folders")
    add_model_options(parser, of_workers=True)
    group = parser.add_argument_group("output")
    option(
        group, "output-dir", "-o", metavar="FOLDER", required=True, help="folder of the shards, which one corpus has"
    )
    option(
        group,
        "format",
        choices=("jsonl", "parquet"),
        default="jsonl",
        help="format of the shards; parquet needs the extra corpus (default: jsonl)",
    )
    option(group, "shard-size", type=positive, default=1000, help="records of a shard (default: 1000)")
    option(
        group,
        "shard-seconds",
        type=_above_0,
        default=600.0,
        metavar="X",
        help="seconds after which a shard is written that is not full; a run that is killed loses no more than the "
        "records of that time (default: 600)",
    )
    option(group, "retry-failed", action="store_true", help="try recordings again that failed in earlier runs")
    group = parser.add_argument_group("workers")
    option(
        group,
        "engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine, or actors of a Ray cluster, which needs the extra ray (default: local)",
    )
    option(
        group,
        "workers",
        type=positive,
        help="number of workers, each of which transcribes one recording at a time (default: the CPUs that the process "
        "may use, or those of the Ray cluster, divided by --threads)",
    )
    option(
        group,
        "address",
        metavar="ADDRESS",
        help="address of the Ray cluster, or auto; needs --engine ray (default: the environment variable RAY_ADDRESS, "
        "or a cluster of this machine only)",
    )
    option(
        group,
        "split-hours",
        type=_above_0_or_none,
        default=1.0,
        metavar="X",
        help="length in hours above which a recording is divided among workers, with the same text; None: never "
        "(default: 1)",
    )
    option(
        group,
        "retries",
        type=not_negative,
        default=2,
        help="number of times that a recording is tried again whose worker was killed (default: 2)",
    )
    option(
        group,
        "time-limit",
        type=_above_0_or_none,
        metavar="X",
        help="seconds that a worker may take for a recording, or for each part of one that is divided; then the work "
        "is ended, and tried again as after the end of a worker; None: any time (default: None)",
    )
    option(
        group,
        "part",
        type=_part,
        default=(0, 1),
        metavar="I/N",
        help="transcribe part I of N of the corpus only, for several machines without Ray; all may write to one folder "
        "(default: 1/1)",
    )
    option(
        group,
        "max-download",
        type=positive,
        default=4096,
        metavar="N",
        help="largest recording that is downloaded from a URL, in MiB (default: 4096)",
    )
    parser.set_defaults(decoding_names=add_decoding_options(parser, BATCH_SIZE))


def run(args: argparse.Namespace) -> int:
    """Transcribe the corpus, print the report, and return the exit status."""
    from ..corpus.folder import opened_folder, report_name, write_json
    from ..corpus.items import Items
    from ..corpus.run import Run, report
    from ..corpus.shards import ShardWriter, committed

    settings = _settings(args)
    inputs, problems = find_inputs(args.input, not args.no_recursive)
    if any(each.path == STDIN for each in inputs):
        raise OptionError("- is the standard input, which has no name; give the path of a file")
    for path, reason in problems:
        print_message(f"{path}: {reason}")
    items = Items((each.path for each in inputs), args.part)
    with opened_folder(args.output_dir, _fingerprint(args, settings), args.part) as folder, Status() as status:
        status.show("reading the manifests")
        n_item = items.check()
        status.show(f"reading {folder}")
        done, before = committed(folder, args.part, without_failed=args.retry_failed)
        writer = ShardWriter(folder, args.format, args.shard_size, args.shard_seconds)
        status.show(f"loading {args.model}")
        with _engine(args, settings) as engine:
            failures = _Failures()
            started = monotonic()
            driver = Run(
                engine,
                writer,
                retries=args.retries,
                done=done,
                on_record=failures.add,
                on_tick=lambda: status.show(_progress(driver, n_item, monotonic() - started)),
            )
            try:
                driver.run(items)
            except KeyboardInterrupt:
                status.close()
                print_message(
                    f"{before.n_record + writer.n_committed} of {n_item} recordings are done in {folder}; run the same "
                    "command to go on"
                )
                raise
            found = report(before, driver, monotonic() - started, engine)
        name = folder / report_name(args.part)
        with output_errors(name):
            write_json(name, found)
    _print_report(found, driver.n_skipped)
    write_stdout(f"{name}\n")
    return 1 if driver.totals.n_failed or problems else 0


def _settings(args: argparse.Namespace) -> "Settings":
    from ..audio import FRAMES_PER_SECOND, ReadingOptions
    from ..corpus.tasks import TimeLimit
    from ..corpus.work import Settings
    from ..inference.options import split_options

    if args.address is not None and args.engine != "ray":
        raise OptionError("--address needs --engine ray")
    options = decoding_options(args, args.decoding_names)
    reading = ReadingOptions(**{name: options.pop(name) for name in READING_OPTIONS if name in options})
    split_options(options)
    if options.get("speakers") is not None and reading.channel == "each":
        raise OptionError("--speakers conflicts with --channel each, with which each channel is a speaker")
    return Settings(
        model=args.model,
        model_dir=None if args.model_dir is None else os.path.abspath(args.model_dir),
        compute_type=args.compute_type,
        backend=args.backend,
        threads=args.threads,
        options=options,
        reading=reading,
        split=None if args.split_hours is None else max(1, round(args.split_hours * 3600 * FRAMES_PER_SECOND)),
        max_download=args.max_download << 20,
        time_limit=TimeLimit(args.time_limit),
    )


def _fingerprint(args: argparse.Namespace, settings: "Settings") -> dict[str, Any]:
    """Return what the records depend on, by the names of the flags."""
    about = {"model": settings.model, "compute_type": settings.compute_type}
    return about | settings.options | vars(settings.reading)


@contextmanager
def _engine(args: argparse.Namespace, settings: "Settings") -> Iterator["Engine"]:
    """Make the engine, and end its workers at the end of the `with` block."""
    from dataclasses import replace

    from .. import simd

    if settings.backend is not None:
        with simd.use_backend(settings.backend):  # unknown ones are an error at once
            pass
    if args.engine == "ray":
        from ..corpus.ray_engine import RayEngine

        model = settings.model if not os.path.exists(settings.model) else os.path.abspath(settings.model)
        engine: Engine = RayEngine(
            replace(settings, model=model), args.workers, settings.threads, args.address, settings.time_limit
        )
        try:
            yield engine
        finally:
            engine.close()
        return
    from ..corpus.local import LocalEngine
    from ..corpus.shared_model import shared_model

    n_worker = args.workers or max(1, simd.get_num_threads() // settings.threads)
    with shared_model(settings.model, settings.compute_type, settings.model_dir) as model:
        engine = LocalEngine(replace(settings, model=model), n_worker, settings.time_limit)
        try:
            yield engine
        finally:
            engine.close()


class _Failures:
    """Prints the first failures."""

    def __init__(self) -> None:
        self._n = 0

    def add(self, record: "Record") -> None:
        """Print a record's failure, if it has one."""
        if record["error"] is None:
            return
        self._n += 1
        if self._n <= MAX_SHOWN:
            print_message(f"{record['id']}: {str(record['error']).removeprefix(record['source'] + ': ')}")
        if self._n == MAX_SHOWN:
            print_message("further failures are not printed; the records have them")


def _progress(run: "Run", n_item: int, seconds: float) -> str:
    """Return the text of the terminal's last line during a run."""
    totals = run.totals
    n = totals.n_record + run.n_skipped
    text = f"{n}/{n_item} recordings, {clock(totals.audio_seconds)} of audio in {clock(seconds)}"
    if totals.audio_seconds and seconds:
        text += f", {totals.audio_seconds / seconds:.1f} times real time"
    return text + (f", {totals.n_failed} failed" if totals.n_failed else "")


def _print_report(found: dict[str, Any], n_skipped: int) -> None:
    now, corpus = found["run"], found["corpus"]
    speed = f", {now['times_real_time']:.1f} times real time" if now["times_real_time"] else ""
    skipped = f", {n_skipped} done before" if n_skipped else ""
    write_stdout(
        f"recordings: {now['recordings']}, {now['failed']} of them failed{skipped}\n"
        f"audio: {now['hours']:.2f} hours in {clock(now['seconds'])}{speed}, {now['workers']} workers\n"
    )
    if languages := corpus["languages"]:
        listed = [f"{code} {n}" for code, n in list(languages.items())[:N_LANGUAGE]]
        more = f", {len(languages) - N_LANGUAGE} more" if len(languages) > N_LANGUAGE else ""
        write_stdout(f"languages of the corpus: {', '.join(listed)}{more}\n")
