"""The scheduler of the server: jobs in common batches, errors, cancelling and stopping. Needs no extra."""

import asyncio
import threading

import pytest

from recordings import silence, speech
from whisper_apr import AudioError, OptionError, Transcription
from whisper_apr.inference.decode import DecodingTask
from whisper_apr.server.jobs import Job, JobCancelled
from whisper_apr.server.metrics import Metrics
from whisper_apr.server.scheduler import Scheduler

pytestmark = [pytest.mark.usefixtures("encoded_once"), pytest.mark.system]

LONG = [*speech("en"), *silence(29), *speech("de"), *silence(29), *speech("en_three")]
GREEDY = {"temperature": 0.0}


@pytest.fixture
def scheduler(model):
    made = Scheduler(model, 4, Metrics())
    made.start()
    yield made
    made.stop()


async def finish(scheduler, job):
    """Submit a job and return its segments and its transcription."""
    scheduler.submit(job)
    *decoded, result = [event async for event in job.events()]
    return [segment for each in decoded for segment in each.segments], result


def run_all(scheduler, audios, options):
    async def run():
        jobs = [Job(audio, each) for audio, each in zip(audios, options, strict=True)]
        return await asyncio.gather(*(finish(scheduler, job) for job in jobs), return_exceptions=True)

    return asyncio.run(run())


def test_each_result_equals_the_single_one(scheduler, model, batch_sizes):
    audios = [speech("en"), speech("de"), LONG, silence(1), speech("en_three"), speech("en")]
    options = [GREEDY, GREEDY, GREEDY | {"language": "en"}, GREEDY, GREEDY | {"initial_prompt": "six"}, GREEDY]
    found = run_all(scheduler, audios, options)
    assert max(batch_sizes) > 1
    for (segments, result), audio, given in zip(found, audios, options, strict=True):
        assert result == model.transcribe(audio, **given)
        assert segments == result.segments


def test_jobs_with_different_options_are_in_different_batches(scheduler, model):
    options = [GREEDY, GREEDY | {"word_timestamps": True}, GREEDY | {"task": "translate"}, GREEDY | {"beam_size": 2}]
    found = run_all(scheduler, [speech("en")] * 4, options)
    assert [result for _, result in found] == [model.transcribe(speech("en"), **each) for each in options]
    assert found[1][1].words


def test_an_unreadable_recording_does_not_affect_the_others(scheduler, model):
    wrong, right = run_all(scheduler, [b"no sound", speech("en")], [GREEDY, GREEDY])
    assert isinstance(wrong, AudioError)
    assert right[1] == model.transcribe(speech("en"), **GREEDY)


def test_wrong_options_are_refused_at_once(scheduler):
    async def submit():
        scheduler.submit(Job(speech("en"), {"beam_size": 0}))

    with pytest.raises(OptionError, match="beam_size"):
        asyncio.run(submit())


def test_a_cancelled_job_ends(scheduler, model, prompts):
    async def run():
        job, other = Job(LONG, GREEDY), Job(LONG, GREEDY)
        scheduler.submit(job)
        whole = asyncio.create_task(finish(scheduler, other))
        events = job.events()
        await anext(events)
        job.cancel()
        with pytest.raises(JobCancelled):
            async for _ in events:
                pass
        return await whole

    assert asyncio.run(run())[1] == model.transcribe(LONG, **GREEDY)
    assert len(prompts) < 6 + 3  # the last three are those of `model.transcribe`


def test_a_window_ends_at_its_next_token_if_all_jobs_are_cancelled(scheduler, monkeypatch):
    started, original = threading.Event(), DecodingTask.generate

    def slow(self, *arguments):
        """Decode the window again and again, as if it had no end."""
        started.set()
        while True:
            yield from original(self, *arguments)

    monkeypatch.setattr(DecodingTask, "generate", slow)

    async def run():
        job = Job(speech("en"), GREEDY)
        scheduler.submit(job)
        await asyncio.to_thread(started.wait)
        job.cancel()
        with pytest.raises(JobCancelled):
            async for _ in job.events():
                pass

    asyncio.run(run())


def test_a_bug_ends_only_its_batch(scheduler, model, monkeypatch):
    original = DecodingTask.generate

    def failing(self, *arguments):
        if self.options.task == "translate":
            raise ZeroDivisionError("a bug")
        return (yield from original(self, *arguments))

    monkeypatch.setattr(DecodingTask, "generate", failing)
    wrong, right = run_all(scheduler, [speech("en")] * 2, [GREEDY | {"task": "translate"}, GREEDY])
    assert isinstance(wrong, ZeroDivisionError)
    assert right[1] == model.transcribe(speech("en"), **GREEDY)


def test_stopping_ends_all_jobs(model):
    scheduler = Scheduler(model, 1, Metrics())
    scheduler.start()

    async def run():
        jobs = [Job(LONG, GREEDY) for _ in range(6)]
        results = asyncio.gather(*(finish(scheduler, job) for job in jobs), return_exceptions=True)
        await asyncio.sleep(0)  # the jobs are submitted
        await asyncio.to_thread(scheduler.stop)
        return await results

    results = asyncio.run(run())
    assert any(isinstance(each, JobCancelled) for each in results)
    assert all(isinstance(each, JobCancelled) or isinstance(each[1], Transcription) for each in results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("engine", "open"))]


def test_a_job_that_is_opened_while_the_engine_stops_ends(model, monkeypatch):
    scheduler = Scheduler(model, 1, Metrics())
    scheduler.start()
    is_opening, opened_job = threading.Event(), Scheduler._opened_job

    def opening(self, *arguments):
        is_opening.set()
        self._engine.join()  # the engine has ended when the recording is open
        return opened_job(self, *arguments)

    monkeypatch.setattr(Scheduler, "_opened_job", opening)
    monkeypatch.setattr(Scheduler, "_check_cancelled", lambda self, check: check())

    async def run():
        result = asyncio.create_task(finish(scheduler, Job(speech("en"), GREEDY)))
        await asyncio.to_thread(is_opening.wait)
        await asyncio.to_thread(scheduler.stop)
        async with asyncio.timeout(10):
            return await result

    with pytest.raises(JobCancelled):
        asyncio.run(run())


def test_few_recordings_are_open(model, monkeypatch):
    scheduler = Scheduler(model, 1, Metrics())
    open_now, most = 0, 0
    lock = threading.Lock()
    opened_job, publish = Scheduler._opened_job, Scheduler._publish

    def opening(self, *arguments):
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        return opened_job(self, *arguments)

    def publishing(self, opened, segments):
        nonlocal open_now
        with lock:
            open_now -= opened.sequence.ended
        publish(self, opened, segments)

    monkeypatch.setattr(Scheduler, "_opened_job", opening)
    monkeypatch.setattr(Scheduler, "_publish", publishing)
    scheduler.start()
    results = run_all(scheduler, [speech("en")] * 8, [GREEDY] * 8)
    scheduler.stop()
    assert len({result.text for _, result in results}) == 1
    assert 1 <= most <= 2
