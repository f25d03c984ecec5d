"""Sequences of windows that join a batch while it is decoded, take turns, and are cancelled."""

from collections import deque

import numpy as np
import pytest

from recordings import silence, speech
from whisper_apr.audio import ReadingOptions
from whisper_apr.inference.batch import MAX_WINDOWS, BatchDecoder
from whisper_apr.inference.transcribe import Pipeline, TranscriptionJob

pytestmark = pytest.mark.usefixtures("encoded_once")

OPTIONS = {"temperature": 0.0, "sample_len": 40, "language": "en"}
LONG = np.concatenate([speech("en"), silence(29), speech("en_three"), silence(29), speech("en")])  # three windows


class Arriving:
    """An iterator that ends when no sequence is waiting, and goes on when others have arrived."""

    def __init__(self):
        self.waiting = deque()

    def __iter__(self):
        return self

    def __next__(self):
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()


class Batch:
    """Recordings that are decoded as they arrive."""

    def __init__(self, model, size):
        self.pipeline = Pipeline(model, lambda: None, OPTIONS)
        self.arriving = Arriving()
        self.decoded = self.pipeline.decode(self.arriving, size, in_order=False)
        self.sequences, self.infos = [], []
        self.order = []  # the recording of each list of segments

    def add(self, audio):
        job = TranscriptionJob.open(self.pipeline, audio, ReadingOptions())
        self.infos.append(job.info)
        for sequence in job.sequences():
            sequence.recording = len(self.sequences)
            self.sequences.append(sequence)
            self.arriving.waiting.append(sequence)

    def run(self, on_yielded=lambda sequence: None):
        results = [[] for _ in range(10)]
        for sequence, segments in self.decoded:
            self.order.append(sequence.recording)
            results[sequence.recording] += self.infos[sequence.recording].add_segments(sequence, segments)
            on_yielded(sequence)
        return results


def test_a_recording_that_joins_later_has_the_same_text(model, batch_sizes):
    batch = Batch(model, 2)
    batch.add(LONG)

    def join(sequence):
        if len(batch.sequences) == 1:
            batch.add(speech("de"))

    results = batch.run(join)
    n_step = len(batch_sizes)
    assert results[0] == model.transcribe(LONG, **OPTIONS).segments
    assert results[1] == model.transcribe(speech("de"), **OPTIONS).segments
    assert batch_sizes[0] == 1
    assert max(batch_sizes[:n_step]) == 2
    assert 1 in batch.order[:-1]  # the second is not held back until the first has ended


def test_sequences_take_turns_if_they_are_more_than_fit(model):
    batch = Batch(model, 1)
    for audio in (LONG, LONG, speech("en")):
        batch.add(audio)
    batch.run()
    assert batch.order == [0, 1, 2, 0, 1, 0, 1]


def test_a_cancelled_sequence_leaves_the_batch(model, batch_sizes):
    batch = Batch(model, 2)
    batch.add(LONG)
    batch.add(LONG)

    def cancel(sequence):
        batch.sequences[0].cancel()

    results = batch.run(cancel)
    n_step = len(batch_sizes)
    assert results[1] == model.transcribe(LONG, **OPTIONS).segments
    assert len(results[0]) <= 1
    alone = batch_sizes.index(1)
    assert batch_sizes[:n_step] == [2] * alone + [1] * (n_step - alone)


def test_a_sequence_tells_each_decoded_window(model):
    batch = Batch(model, 1)
    batch.add(LONG)
    seen = []
    batch.sequences[0].on_decoded = lambda *window: seen.append(window)
    segments = batch.run()[0]
    assert [window.seek for window, _, _ in seen] == sorted({segment.seek for segment in segments})
    assert " ".join(result.text for _, result, _ in seen) == "".join(segment.text for segment in segments).strip()
    assert [segment.text for _, _, found in seen for segment in found] == [segment.text for segment in segments]


def test_a_huge_batch_size_needs_no_more_memory(model):
    """The KV cache has a place for each window of the batch."""
    options = OPTIONS | {"batch_size": 10**9, "beam_size": 1000}
    pipeline = Pipeline(model, lambda: None, options)
    batch = BatchDecoder(pipeline.decoder, 10**9, lambda: None)
    assert (batch.size, pipeline.decoder.n_row) == (1, 1000)
    assert BatchDecoder(Pipeline(model, lambda: None, OPTIONS).decoder, 10**9, lambda: None).size == MAX_WINDOWS
