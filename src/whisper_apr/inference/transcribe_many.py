"""Transcribe several recordings in one batch, so that each weight is read from memory once for all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, Unpack, overload

from ..audio import SAMPLE_RATE, AudioLike, ReadingOptions
from ..audio.samples import MIX, Channel
from ..errors import AudioError, OptionError
from ..model import Whisper
from ..option_docs import list_options
from ..option_values import FloatLike, IntLike, boolean, function, optional, parse, shown, whole
from .journal import Journal
from .keywords import ReadingKeywords, RecordingKeywords
from .options import DecodingOptions, TranscribeOptions
from .recording_info import RecordingInfo
from .results import Progress, Segment, Transcription
from .transcribe import Pipeline, TranscriptionJob
from .windows import WindowSequence

Result = Transcription | AudioError


class TranscribeManyKeywords(RecordingKeywords, ReadingKeywords, total=False):
    """Keyword arguments of `transcribe_many` besides `return_errors`."""

    batch_size: IntLike
    independent_windows: bool
    on_segment: Callable[[int, Segment], object] | None
    on_progress: Callable[[int, Progress], object] | None
    check_cancelled: Callable[[], object]
    journal: Journal | None


@overload
def transcribe_many(
    model: Whisper,
    audios: Iterable[AudioLike],
    *,
    return_errors: Literal[False] = False,
    **options: Unpack[TranscribeManyKeywords],
) -> Iterator[Transcription]: ...


@overload
def transcribe_many(
    model: Whisper, audios: Iterable[AudioLike], *, return_errors: bool, **options: Unpack[TranscribeManyKeywords]
) -> Iterator[Transcription | AudioError]: ...


@list_options(TranscribeOptions, DecodingOptions)
def transcribe_many(
    model: Whisper,
    audios: Iterable[AudioLike],
    *,
    batch_size: IntLike = 8,
    independent_windows: bool = False,
    return_errors: bool = False,
    sampling_rate: FloatLike = SAMPLE_RATE,
    channel: Channel = MIX,
    track: IntLike | None = None,
    strict: bool = False,
    on_segment: Callable[[int, Segment], object] | None = None,
    on_progress: Callable[[int, Progress], object] | None = None,
    check_cancelled: Callable[[], object] = lambda: None,
    journal: Journal | None = None,
    **options: Unpack[RecordingKeywords],
) -> Iterator[Result]:
    """Transcribe several recordings together and yield their results in order.

    Every result equals that of `transcribe(model, audio, **options)`. A recording is opened when a place in the batch
    is free: `audios` may be a generator, and at most `batch_size` recordings are open.

    Args:
        model: The model, from `load_model`.
        audios: The recordings, each as `transcribe` takes it.
        batch_size: Number of windows decoded at once, each of another recording unless `independent_windows` is given.
        independent_windows: Whether to fill the batch with windows of the same recording, which keeps it full if
            recordings are few or of different lengths. Every result then equals that of
            `transcribe(model, audio, batch_size=batch_size, **options)`.
        return_errors: Whether to yield the AudioError of a recording that cannot be read, in place of its result, and
            go on with the others. Otherwise it is raised.
        sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
        channel: Number of the channel to transcribe, from 0; "mix" for the mean of all; "each" to transcribe every
            channel by itself. See `transcribe`.
        track: Number of the files' audio track, from 0. None is the one that a player would choose.
        strict: Whether to raise AudioError for what is otherwise an AudioWarning.
        on_segment: Called with the number of the recording, from 0, and each segment as soon as it is final.
        on_progress: Called with the number of the recording and its progress, which never decreases.
        check_cancelled: Called before each token. What it raises ends all transcriptions; the model stays usable.
        journal: Windows decoded in an earlier run, which are not decoded again; windows decoded now are added to it.
        **options: Fields of TranscribeOptions and of DecodingOptions, except `prompt`.

    Yields:
        The transcription of each recording, or its AudioError with `return_errors`.

    Raises:
        AudioError: A recording cannot be read, and `return_errors` is not given.
        OptionError: An option is unknown, has a value that is not allowed, or conflicts with another. It is raised at
            once, before the first result is asked for.
    """
    if isinstance(audios, str | bytes | PathLike) or not isinstance(audios, Iterable):
        raise OptionError(f"audios must be a sequence or an iterator of recordings, not {shown(audios)}")
    batch_size = parse("batch_size", whole(1), batch_size)
    independent_windows = parse("independent_windows", boolean, independent_windows)
    return_errors = parse("return_errors", boolean, return_errors)
    parse("on_segment", optional(function), on_segment)
    parse("on_progress", optional(function), on_progress)
    if journal is not None and not isinstance(journal, Journal):
        raise OptionError(f"journal must be a Journal, or None, not {shown(journal)}")
    batched = {"batch_size": batch_size} if independent_windows else {}
    pipeline = Pipeline(model, check_cancelled, {**options, **batched})
    reading = ReadingOptions(sampling_rate, channel, track, strict)
    results = _ManyJob(pipeline, reading, on_segment, on_progress).results(audios, int(batch_size), journal)
    return results if return_errors else map(_raise_error, results)


def _raise_error(result: Result) -> Transcription:
    if isinstance(result, AudioError):
        raise result
    return result


@dataclass
class _Recording:
    """Bookkeeping for one recording that is being decoded. Its sequences own the audio and free it."""

    info: RecordingInfo | None = None  # None if it could not be opened
    segments: list[Segment] = field(default_factory=list)
    error: AudioError | None = None  # the first
    n_open: int = 0  # sequences that have not ended
    is_complete: bool = False  # all of its sequences are known

    @property
    def is_done(self) -> bool:
        return self.is_complete and not self.n_open


class _ManyJob:
    """Opens recordings when the decoder needs more sequences, and collects their segments."""

    def __init__(
        self,
        pipeline: Pipeline,
        reading: ReadingOptions,
        on_segment: Callable[[int, Segment], object] | None,
        on_progress: Callable[[int, Progress], object] | None,
    ) -> None:
        self._pipeline = pipeline
        self._reading = reading
        self._on_segment = on_segment
        self._on_progress = on_progress
        self._recordings: dict[int, _Recording] = {}  # by index, those that are being decoded

    def results(self, audios: Iterable[AudioLike], batch_size: int, journal: Journal | None) -> Iterator[Result]:
        """Yield the result or error of each recording, in order."""
        for sequence, segments in self._pipeline.decode(self._sequences(audios), batch_size, journal):
            index, recording = sequence.recording, self._recordings[sequence.recording]
            recording.error = recording.error or sequence.error
            recording.n_open -= sequence.ended
            self._report(sequence, segments)
            if recording.is_done:
                del self._recordings[index]
                yield self._result(index, recording)

    def _sequences(self, audios: Iterable[AudioLike]) -> Iterator[WindowSequence]:
        """Open the recordings one after another and yield their sequences, at least one of each."""
        for index, audio in enumerate(audios):
            recording = self._recordings[index] = _Recording()
            previous: WindowSequence | None = None
            try:
                job = TranscriptionJob.open(self._pipeline, audio, self._reading)
                recording.info = job.info
                for sequence in job.sequences():
                    sequence.recording = index
                    recording.n_open += 1
                    if previous is not None:
                        yield previous
                    previous = sequence
                del job
            except AudioError as error:
                recording.error = error
            if previous is None:
                previous = self._pipeline.empty_sequence()
                previous.recording = index
                recording.n_open = 1
            # the last one is yielded once it is known to be the last
            recording.is_complete = True
            yield previous

    def _report(self, sequence: WindowSequence, segments: list[Segment]) -> None:
        """Add the sequence's segments to its recording and call the callbacks."""
        index, recording = sequence.recording, self._recordings[sequence.recording]
        if recording.info is None:
            return
        for segment in recording.info.add_segments(sequence, segments):
            recording.segments.append(segment)
            if self._on_segment is not None:
                self._on_segment(index, segment)
        if self._on_progress is not None:
            self._on_progress(index, recording.info.progress(sequence))

    def _result(self, index: int, recording: _Recording) -> Result:
        info = recording.info
        if recording.error is not None:
            return recording.error
        assert info is not None, "a recording that could not be opened has an error"
        if self._on_progress is not None:
            self._on_progress(index, Progress(info.duration, info.duration))
        return info.result(recording.segments)
