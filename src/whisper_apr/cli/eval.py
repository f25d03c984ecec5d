"""Measure the errors of a model on recordings whose texts are known, and how far quantization changes it. FOLDER has a
.txt file beside each recording, LibriSpeech's *.trans.txt files, or a list such as texts.json or texts.tsv; it may also
be a list itself, such as Common Voice's test.tsv. Texts are normalized and compared as in the Whisper paper. Agreement
is that of the next token while the model reads what the reference transcribes: how often both find the same token most
probable, and the divergence KL(reference || model) in nats per token. With --word-timestamps True, tables show how
often words of each probability are right."""

import argparse
from typing import TYPE_CHECKING, Any

from ..atomic import check_writable, write_atomically
from ..errors import AudioError, OptionError
from ..recognizer import Recognizer
from .arguments import add_model_options, model_from_args, option
from .decoding import add_decoding_options, decoding_options
from .progress import Status, Tally
from .terminal import output_errors, print_message, write_stdout

if TYPE_CHECKING:
    from ..evaluation import Recording, Score
    from .eval_report import Report

HELP = "measure a model's errors on recordings whose texts are known"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval`."""
    parser.add_argument("source", metavar="FOLDER", help="folder of recordings with texts, or a list of them")
    add_model_options(parser, several_types=True)
    option(
        parser,
        "reference",
        metavar="MODEL",
        help="model that agreement is measured against, in float32 (default: --model)",
    )
    option(parser, "no-agreement", action="store_true", help="measure the errors of the texts only, which is faster")
    group = parser.add_argument_group("output")
    option(group, "per-file", action="store_true", help="print the errors in each recording too")
    option(group, "per-language", action="store_true", help="print the errors in each language too")
    option(group, "json", metavar="FILE", help="write texts, errors and agreement of each recording to a file")
    parser.set_defaults(decoding_names=add_decoding_options(parser))


def run(args: argparse.Namespace) -> int:
    """Transcribe the recordings with each compute type, print the tables, and return the exit status."""
    from ..evaluation import find_recordings

    if args.no_agreement and args.reference is not None:
        raise OptionError("--reference has no effect with --no-agreement; leave out one of them")
    if not args.compute_type:
        raise OptionError("--compute-type names no type; choose from float32, float16, int8 and int4")
    options = decoding_options(args, args.decoding_names)
    if args.json:
        with output_errors(args.json):  # now, and not after minutes of measuring
            check_writable(args.json)
    recordings = find_recordings(args.source)
    tally = Tally()
    with Status() as status:
        status.show(f"loading {args.model}")
        models, reference = _load(args)
        report = measure(models, reference, recordings, options, status, tally)
    if args.per_file:
        write_stdout(f"{report.recordings()}\n\n")
    if args.per_language:
        write_stdout(f"{report.languages()}\n\n")
    write_stdout(f"{report.totals()}\n")
    if reliability := report.reliability():
        write_stdout(f"\n{reliability}\n")
    if args.json:
        reference = None if args.no_agreement else args.reference or args.model
        about = {"model": args.model, "reference": reference, "source": args.source, "options": options}
        with output_errors(args.json), write_atomically(args.json) as file:
            file.write(report.as_json(about))
    return 1 if tally.n_failed else 0


def measure(
    models: dict[str, Recognizer],
    reference: Recognizer | None,
    recordings: "list[Recording]",
    options: dict[str, Any],
    status: Status,
    tally: Tally,
) -> "Report":
    """Transcribe recordings with models and return the tables. Recordings that cannot be read are added to `tally`."""
    from ..evaluation import evaluate
    from .eval_report import Report

    scores: dict[str, list[Score]] = {name: [] for name in models}
    known = [each for each in recordings if _knows(next(iter(models.values())), each, options)]
    if n_left := len(recordings) - len(known):
        print_message(f"{n_left} of {len(recordings)} recordings are in languages that the model lacks; left out")
    results = evaluate(models, known, reference=reference, return_errors=True, check_cancelled=status.tick, **options)
    for i, recording in enumerate(known):
        status.show(f"{i + 1}/{len(known)} {recording.label}")
        found = next(results)
        if isinstance(found, AudioError):
            tally.add_failure(recording.path, str(found))
            continue
        for name, score in found.items():
            scores[name].append(score)
    return Report(scores)


def _load(args: argparse.Namespace) -> tuple[dict[str, Recognizer], Recognizer | None]:
    """Return the model in each compute type, and the reference."""

    def load(**changes: Any) -> Recognizer:
        return model_from_args(argparse.Namespace(**(vars(args) | changes)))

    models = {name: load(compute_type=name) for name in args.compute_type}
    if args.no_agreement:
        return models, None
    if args.reference is None and "float32" in models:
        return models, models["float32"]
    return models, load(model=args.reference or args.model, compute_type="float32")


def _knows(model: Recognizer, recording: "Recording", options: dict[str, Any]) -> bool:
    """Return whether the model has the language of a recording, unless the options name another."""
    languages = model.languages if model.is_multilingual else ("en",)
    return options.get("language") is not None or recording.language in (None, *languages)
