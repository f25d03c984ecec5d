"""A server that is being stopped: connections without a request are closed at once, and none is accepted."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from recordings import silence, speech
from running_server import Running, pcm, recording, running, wait_until

LONG = recording(*[speech("en_three"), silence(28)] * 12)  # seven minutes
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(server: Running) -> socket.socket:
    return socket.create_connection(server.address.split(":"), timeout=20)


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server closes a connection; raise TimeoutError if it does not."""
    with suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass
    return True


@pytest.mark.parametrize("sent", [b"", HEALTH[:20]])
def test_connections_that_arrive_at_the_last_moment_are_closed(sent):
    """They are accepted in the pass of the event loop in which the server begins to stop."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait(60)

    with ExitStack() as stack:
        server = stack.enter_context(running(stop_timeout=60))
        server.server.servers[0].get_loop().call_soon_threadsafe(hold)
        assert held.wait(60)
        connections = [stack.enter_context(connected(server)) for _ in range(20)]
        for connection in connections:
            connection.sendall(sent)
        server.server.should_exit = True
        time.sleep(0.2)  # the server looks for it every 0.1 s
        release.set()
        assert all(map(is_closed, connections))


def test_only_connections_with_a_request_are_kept(endless):
    with ExitStack() as stack:
        server = stack.enter_context(running(stop_timeout=5))
        clients = stack.enter_context(ThreadPoolExecutor(1))
        client = stack.enter_context(server.client())
        text = clients.submit(client.audio.transcriptions.create, file=LONG, model="digits")
        wait_until(lambda: server.service.admission.count == 1)
        silent, incomplete, kept = (stack.enter_context(connected(server)) for _ in range(3))
        incomplete.sendall(HEALTH[:20])
        kept.sendall(HEALTH)
        assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        asking = stack.enter_context(socket.create_connection(("127.0.0.1", server.wyoming_port), timeout=20))
        asking.sendall(b'{"type": "ping"}\n')
        assert b"pong" in asking.recv(1 << 16)
        server.server.should_exit = True
        assert all(map(is_closed, (silent, incomplete, kept, asking)))
        assert not text.done()
        for port in (server.address.split(":")[1], server.wyoming_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
        assert text.exception() is not None  # when the time is over


def test_both_protocols_have_the_same_time_to_stop(endless):
    spoken = [{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}]
    samples = pcm(speech("en"), silence(60))
    spoken += [
        {"type": "audio-chunk", "data": spoken[0]["data"], "payload_length": len(samples)},
        {"type": "audio-stop"},
    ]
    with ExitStack() as stack:
        server = stack.enter_context(running(stop_timeout=8))
        clients = stack.enter_context(ThreadPoolExecutor(1))
        client = stack.enter_context(server.client())
        text = clients.submit(client.audio.transcriptions.create, file=LONG, model="digits")
        asking = stack.enter_context(socket.create_connection(("127.0.0.1", server.wyoming_port), timeout=20))
        start, chunk, stop = (json.dumps(event).encode() + b"\n" for event in spoken)
        asking.sendall(start + chunk + samples + stop)
        wait_until(lambda: server.service.admission.count == 2)
        began = time.monotonic()
        server.server.should_exit = True
        assert is_closed(asking)
        assert text.exception() is not None
        assert 7 < time.monotonic() - began < 15  # not twice the time
