"""Concurrent requests, limits of size, number and time, and clients that leave."""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from recordings import silence, speech
from running_server import recording, running, wait_until

DATA = Path(__file__).parents[1] / "data"
EN = DATA / "en.wav"
LONG = recording(*[speech("en_three"), silence(28)] * 12)  # seven minutes
SHORTER = recording(*[speech("en_three"), silence(28)] * 4)


@pytest.fixture
def recordings():
    """Recordings of one and several windows, in four languages."""
    sounds = [recording(speech(name)) for name in ("en", "de", "fr", "es", "en_three")]
    return [*sounds, recording(speech("en"), silence(29), speech("de")), recording(silence(1)), EN.read_bytes()]


def test_all_fields_together_are_limited(server):
    """Each is small enough, but all are kept in memory."""
    fields = {"model": "digits", "prompt": ["x" * (5 << 20)] * 6}
    response = server.post("/v1/audio/transcriptions", data=fields, files={"file": ("en.wav", EN.read_bytes())})
    assert response.status_code == 400
    assert "25 MiB altogether" in response.json()["error"]["message"]


def test_texts_of_concurrent_clients_are_those_of_each_alone(server, model, recordings, batch_sizes):
    alone = [model.transcribe(audio) for audio in recordings]
    batch_sizes.clear()

    def call(audio):
        return server.client().audio.transcriptions.create(file=audio, model="digits", response_format="verbose_json")

    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(call, recordings))
    assert [each.text for each in found] == [each.text.strip() for each in alone]
    times = [[(s.start, s.end, s.avg_logprob) for s in each.segments] for each in found]
    assert times == [[(s.start, s.end, s.avg_logprob) for s in each.segments] for each in alone]
    assert max(batch_sizes) > 2  # windows of several requests were decoded together


def test_requests_with_different_options_do_not_mix(server, model, recordings):
    options = [{}, {"temperature": 0}, {"language": "de"}, {"prompt": "six"}]
    expected = [{}, {}, {"language": "de"}, {"initial_prompt": "six"}]

    def call(given):
        return server.client().audio.transcriptions.create(file=EN, model="digits", **given).text

    def words(_):
        result = server.client().audio.transcriptions.create(
            file=EN, model="digits", response_format="verbose_json", timestamp_granularities=["word"]
        )
        return " ".join(word.word for word in result.words)

    with ThreadPoolExecutor(8) as clients:
        texts, timed = clients.map(call, options), clients.map(words, range(4))
        assert list(texts) == [model.transcribe(EN, **given).text.strip() for given in expected]
        assert set(timed) == {model.transcribe(EN).text.strip()}


def test_a_short_recording_does_not_wait_for_a_long_one(server):
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.client().audio.transcriptions.create, file=LONG, model="digits")
        wait_until(lambda: server.service.admission.count == 1)
        server.client().audio.transcriptions.create(file=EN, model="digits")
        assert not long.done()
        long.result()


def test_more_requests_than_the_limit_are_refused():
    with running(max_requests=1) as server, socket.create_connection(server.address.split(":")) as uploading:
        uploading.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n")
        uploading.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
        wait_until(lambda: server.service.admission.count == 1)
        with pytest.raises(openai.RateLimitError, match="1 requests already") as caught:
            server.client().audio.transcriptions.create(file=EN, model="digits")
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert caught.value.code == "rate_limit_exceeded"
        assert server.get("/health").status_code == 200  # other requests are answered
        uploading.close()
        server.wait_until_idle()
        # OpenAI's client waits and tries again
        retrying = server.client(max_retries=openai.DEFAULT_MAX_RETRIES)
        assert retrying.audio.transcriptions.create(file=EN, model="digits").text


@pytest.mark.parametrize("with_length", [True, False])
def test_an_upload_above_the_limit_is_refused(with_length):
    with running(max_upload=100_000) as server:
        body = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + bytes(3_000_000)
        content = body if with_length else iter([body])  # an iterator is sent in chunks
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        response = server.post("/v1/audio/transcriptions", content=content, headers=headers)
        assert response.status_code == 413
        assert response.json()["error"] == {
            "message": "the request is too large; this server takes 100000 bytes at most",
            "type": "invalid_request_error",
            "param": None,
            "code": "request_too_large",
        }


def test_a_request_that_takes_too_long_is_ended(endless):
    with running(timeout=1.0) as server:
        with pytest.raises(openai.InternalServerError, match="more than 1 s") as caught:
            server.client().audio.transcriptions.create(file=LONG, model="digits")
        assert caught.value.status_code == 504
        with pytest.raises(openai.APIError, match="more than 1 s"):  # after the first events
            for _ in server.client().audio.transcriptions.create(file=LONG, model="digits", stream=True):
                pass
        wait_until(lambda: not server.service.scheduler._batches)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_work_for_a_client_that_leaves_is_cancelled(server, endless, is_streamed):
    cancelled = server.metric("whisper_apr_cancelled_total")
    if is_streamed:
        with server.client().audio.transcriptions.create(file=LONG, model="digits", stream=True) as events:
            next(events)
    else:
        with pytest.raises(openai.APITimeoutError):
            server.client(timeout=2.0).audio.transcriptions.create(file=LONG, model="digits")
    server.wait_until_idle()
    assert server.metric("whisper_apr_cancelled_total") == cancelled + 1
    wait_until(lambda: not server.service.scheduler._batches)


def test_a_client_that_leaves_does_not_disturb_the_others(server, model):
    with ThreadPoolExecutor(2) as clients:
        text = clients.submit(server.client().audio.transcriptions.create, file=SHORTER, model="digits")
        wait_until(lambda: server.service.admission.count == 1)
        with pytest.raises(openai.APITimeoutError):
            server.client(timeout=0.2).audio.transcriptions.create(file=LONG, model="digits")
        assert text.result().text == model.transcribe(SHORTER).text.strip()


def test_a_cut_upload_leaves_nothing(server):
    with socket.create_connection(server.address.split(":")) as uploading:
        uploading.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n")
        uploading.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
        uploading.sendall(b"Content-Disposition: form-data; name=file; filename=a\r\n\r\n" + bytes(2_000_000))
        wait_until(lambda: server.service.admission.count == 1)
    server.wait_until_idle()


def test_requests_are_counted_and_logged(server, caplog):
    answered = server.metric('whisper_apr_requests_total{path="/v1/audio/transcriptions",status="200"}')
    seconds = server.metric("whisper_apr_audio_seconds_total")
    with caplog.at_level(logging.INFO, "whisper_apr.server"):
        server.client().audio.transcriptions.create(file=EN, model="digits")
        wait_until(lambda: any("200 in" in message for message in caplog.messages))
    assert server.metric('whisper_apr_requests_total{path="/v1/audio/transcriptions",status="200"}') == answered + 1
    assert server.metric("whisper_apr_audio_seconds_total") == pytest.approx(seconds + 4.795, abs=0.01)
    assert server.metric("whisper_apr_requests_running") == 0
    assert server.metric("whisper_apr_request_seconds_count") > 0
    assert server.metric("whisper_apr_segments_total") > 0
    server.get("/no/such/path")
    assert server.metric('whisper_apr_requests_total{path="other",status="404"}') > 0


def test_running_requests_are_finished_when_the_server_stops(model):
    with running() as server, ThreadPoolExecutor(1) as clients:
        text = clients.submit(server.client().audio.transcriptions.create, file=SHORTER, model="digits")
        wait_until(lambda: server.service.admission.count == 1)
        server.server.should_exit = True
        assert text.result().text == model.transcribe(SHORTER).text.strip()


def test_requests_are_ended_when_the_time_to_stop_is_over(endless):
    with running(stop_timeout=1) as server, ThreadPoolExecutor(1) as clients, server.client() as client:
        text = clients.submit(client.audio.transcriptions.create, file=LONG, model="digits")
        wait_until(lambda: server.service.admission.count == 1)
        server.server.should_exit = True
        with pytest.raises(openai.APIError):
            text.result()
