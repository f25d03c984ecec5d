"""Align a known text with a recording: find when each of its words is spoken.

1. The recording is transcribed, and the recognized words are matched with those of the text (`known_text`). So it is
   known about when each word is spoken, wherever the text and the recording differ.
2. The words between pauses are aligned with the sound by the decoder's cross-attention, as in a transcription with word
   times, but with the text that is known.
3. Words that were not recognized and are improbable are taken out, and the others of their window aligned again.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args

import numpy as np

from ..audio import FRAMES_PER_SECOND, N_FRAMES, SAMPLE_RATE, AudioLike, ReadingOptions, pad_or_trim
from ..audio.samples import EACH, MIX, Channel
from ..errors import OptionError
from ..model import Whisper
from ..option_values import FloatLike, IntLike, choice, function, optional, parse
from ..option_values import text as a_text
from .audio_source import open_channels
from .decode import DecodingResult, compression_ratio
from .known_text import Added, Places, SegmentUnit, TextWord, check_text, divide, find_places, split_text
from .results import AddedSpeech, Alignment, Progress, Segment, Word
from .transcribe import FROM_START, ChannelJob, Pipeline
from .window_text import SeekWindow
from .word_timestamps.words import add_words

_log = logging.getLogger(__name__)

# for the first pass; each window is decoded by itself, so that an error in one does not spread
RECOGNITION = {
    "word_timestamps": True,
    "condition_on_previous_text": False,
    "temperature": (0.0, 0.4),
    "seed": 0,
}
LEAD_IN = 0.5  # seconds of sound before the first word of a window
LEAD_OUT = 0.5  # seconds of sound after the last word, at least
SKIPPED_PROBABILITY = 0.05  # geometric mean of the words' probabilities below which a doubtful stretch is not spoken

Times = dict[int, Word]  # by the index of the word in the text


def align(
    model: Whisper,
    audio: AudioLike,
    text: str,
    *,
    language: str | None = None,
    segments: SegmentUnit = "lines",
    sampling_rate: FloatLike = SAMPLE_RATE,
    channel: Channel = MIX,
    track: IntLike | None = None,
    strict: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
    check_cancelled: Callable[[], object] = lambda: None,
) -> Alignment:
    """Find when each word of a known text is spoken in a recording of any length.

    The text need not be exactly what is spoken. Words that are not spoken have no duration and are listed in `skipped`;
    what is spoken and not in the text is listed in `added`, as the model understands it.

    Args:
        model: The model, from `load_model`.
        audio: The recording, as for `transcribe`.
        text: What is spoken, in the order in which it is.
        language: Language of the text, as a code or an English name. None detects that of the recording.
        segments: What is a segment of the result: each of the text's "lines", or each of its "sentences".
        sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
        channel: Number of the channel to listen to, from 0; "mix" for the mean of all.
        track: Number of the file's audio track, from 0. None is the one that a player would choose.
        strict: Whether to raise AudioError for what is otherwise an AudioWarning.
        on_progress: Called after each window with the progress, which never decreases.
        check_cancelled: Called before each token. What it raises ends the alignment; the model stays usable.

    Returns:
        The segments with their words; text of which no word is spoken is not among them.

    Raises:
        AudioError: The recording cannot be read.
        OptionError: The text has no words, or an option has a value that is not allowed.
    """
    parse("text", a_text, text)
    parse("segments", choice(*get_args(SegmentUnit)), segments)
    parse("on_progress", optional(function), on_progress)
    check_text(text)
    reading = ReadingOptions(sampling_rate, channel, track, strict)
    if reading.channel == EACH:
        raise OptionError("channel must be a number or 'mix', as a text is aligned with one channel, not 'each'")
    pipeline = Pipeline(model, check_cancelled, RECOGNITION | {"language": language})
    (blocks,) = open_channels(audio, reading)
    job = ChannelJob(pipeline, blocks, FROM_START)
    words = split_text(text, job.tokenizer, segments)
    report = _report_halves(on_progress, job.duration)
    recognized = _recognize(job, lambda seconds: report(seconds, 0.0))
    places = find_places(words, recognized, job.duration)
    found: Times = {}
    for end, timed in _WindowAligner(job, words, places).windows():
        found |= timed
        report(job.duration, end)
    report(job.duration, job.duration)
    _log.info("aligned %d of %d words; %d words recognized", len(found), len(words), len(recognized))
    for stretch in places.added:
        _keep_apart(found, stretch)
    return _result(words, found, job, [stretch.words for stretch in places.added])


def _report_halves(on_progress: Callable[[Progress], object] | None, total: float) -> Callable[[float, float], None]:
    """Return a function that reports the seconds that the two passes have come to, each of which is half of the way."""

    def report(first: float, second: float) -> None:
        if on_progress is not None:
            on_progress(Progress((min(first, total) + min(second, total)) / 2, total))

    return report


def _recognize(job: ChannelJob, report: Callable[[float], None]) -> list[Word]:
    """Transcribe a recording and return its words."""
    words: list[Word] = []
    for sequence, segments in job.pipeline.decode(job.sequences(), 1):
        if sequence.error is not None:
            raise sequence.error
        words += [word for segment in segments for word in segment.words or ()]
        report(sequence.seek / FRAMES_PER_SECOND)
    return words


class _WindowAligner:
    """Aligns the words of a text, whose places are known roughly, window by window."""

    def __init__(self, job: ChannelJob, words: Sequence[TextWord], places: Places) -> None:
        self._job = job
        self._words = words
        self._places = places
        self._max_tokens = job.pipeline.model.dims.n_text_ctx // 2  # the most that the decoder was trained on

    def windows(self) -> Iterator[tuple[float, Times]]:
        """Yield the times of the words of each window, with the end of the window in seconds."""
        done = 0.0  # seconds: end of the last word
        for pieces in self._batches():
            window, features = self._encode(max(0.0, self._start(pieces[0]) - LEAD_IN))
            timed = self._align(pieces, window, features, done)
            if skipped := self._improbable(timed):
                pieces = [kept for piece in pieces if (kept := [i for i in piece if i not in skipped])]
                timed = self._align(pieces, window, features, done) if pieces else {}
            done = max((word.end for word in timed.values()), default=done)
            yield window.end, timed

    def _start(self, piece: Sequence[int]) -> float:
        time = self._places.times[piece[0]]
        assert time is not None
        return time[0]

    def _end(self, piece: Sequence[int]) -> float:
        time = self._places.times[piece[-1]]
        assert time is not None
        return time[1]

    def _batches(self) -> Iterator[list[list[int]]]:
        """Yield the pieces that fit into one window and its text."""
        batch: list[list[int]] = []
        n_token = 0
        for piece in divide(self._words, self._places, self._max_tokens // 2):
            n = sum(len(self._words[i].tokens) for i in piece)
            latest = N_FRAMES / FRAMES_PER_SECOND - LEAD_IN - LEAD_OUT
            if batch and (self._end(piece) - self._start(batch[0]) > latest or n_token + n > self._max_tokens):
                yield batch
                batch, n_token = [], 0
            batch.append(piece)
            n_token += n
        if batch:
            yield batch

    def _encode(self, start: float) -> tuple[SeekWindow, Any]:
        """Return the window from `start` seconds on, and its features."""
        job = self._job
        job.pipeline.check_cancelled()
        content = job.spectrogram.content_frames
        seek = max(0, min(int(start * FRAMES_PER_SECOND), content - 1))
        size = min(N_FRAMES, content - seek)
        mel = pad_or_trim(job.spectrogram.read(seek, size), N_FRAMES)
        return SeekWindow(seek, size, mel, ()), job.pipeline.model.encoder(mel[None], job.pipeline.check_cancelled)[0]

    def _align(self, pieces: Iterable[list[int]], window: SeekWindow, features: Any, done: float) -> Times:
        """Return the times of the pieces' words, none of which begins before `done` seconds."""
        job = self._job
        job.pipeline.check_cancelled()
        texts = [[self._words[i] for i in piece] for piece in pieces]
        segments = [
            _segment(text, window.seek, min(self._start(piece), window.end), min(self._end(piece), window.end))
            for piece, text in zip(pieces, texts, strict=True)
        ]
        timed = add_words(
            segments,
            window,
            DecodingResult(features, job.language),
            job.tokenizer,
            done,
            False,
            model=job.pipeline.model,
            options=job.options,
        )
        return {
            i: word
            for piece, segment in zip(pieces, timed, strict=True)
            for i, word in zip(piece, segment.words or (), strict=True)
        }

    def _improbable(self, timed: Times) -> set[int]:
        """Return the words of doubtful stretches that are too improbable to be spoken."""
        improbable: set[int] = set()
        first, last = min(timed, default=0), max(timed, default=-1)
        for begin, end in self._places.doubtful:
            inside = [i for i in range(max(begin, first), min(end, last + 1)) if i in timed]
            if inside and np.mean([_log_probability(timed[i]) for i in inside]) < math.log(SKIPPED_PROBABILITY):
                improbable.update(inside)
        return improbable


def _keep_apart(found: Times, added: Added) -> None:
    """Let the words around added speech end before it, and start after it, if they are longer than their overlap."""
    before, after = found.get(added.before - 1), found.get(added.before)
    if before is not None and before.start < added.words[0].start < before.end:
        before.end = added.words[0].start
    if after is not None and after.start < added.words[-1].end < after.end:
        after.start = added.words[-1].end


def _log_probability(word: Word) -> float:
    return math.log(max(word.probability, 1e-10))


def _segment(text: Sequence[TextWord], seek: int, start: float, end: float) -> Segment:
    """Return a segment with the text, without words."""
    string = "".join(word.text for word in text)
    tokens = [token for word in text for token in word.tokens]
    return Segment(0, seek, start, end, string, tokens, 0.0, 0.0, compression_ratio(string), 0.0)


def _result(words: Sequence[TextWord], found: Times, job: ChannelJob, added: Iterable[Sequence[Word]]) -> Alignment:
    segments: list[Segment] = []
    skipped: list[Word] = []
    at = min((word.start for word in found.values()), default=0.0)
    begin = 0
    while begin < len(words):
        end = begin
        while end < len(words) and words[end].segment == words[begin].segment:
            end += 1
        timed: list[Word] = []
        for i in range(begin, end):
            word = found.get(i)
            if word is None:
                word = Word(words[i].text, at, at, 0.0)
                if words[i].key:
                    skipped.append(word)
            at = word.end
            timed.append(word)
        spoken = [found[i] for i in range(begin, end) if i in found]
        if spoken:
            seek = int(spoken[0].start * FRAMES_PER_SECOND)
            segment = _segment(words[begin:end], seek, spoken[0].start, spoken[-1].end)
            segment.id, segment.words = len(segments), timed
            segment.avg_logprob = float(np.mean([_log_probability(word) for word in spoken]))
            segments.append(segment)
        begin = end
    return Alignment(
        "".join(segment.text for segment in segments),
        segments,
        job.language,
        job.duration,
        job.language_probability,
        skipped=skipped,
        added=[AddedSpeech(part[0].start, part[-1].end, "".join(word.word for word in part)) for part in added],
    )
