"""Measure `whisper-apr serve`: latency and throughput with several clients, and a soak test with faults.

    python benchmarks/server.py load --model base --compute-type int8 RECORDING... --clients 1 8 32
    python benchmarks/server.py soak --model base RECORDING... --minutes 10

`load` prints, for each number of clients, the 50th and 95th percentile of the seconds of a request, the hours of
recordings transcribed in an hour, the server's CPU seconds for a minute of recordings, which depend less on what else
the machine does, and whether every text is that of one client alone. `soak` mixes requests with
faults (cut uploads, clients that leave, slow readers, garbage, live sessions that break off), and prints the server's
memory and what went wrong. It fails if a good request fails or has another text, if a request is still counted at the
end, or if memory grows. Needs httpx and websockets (the extra `server-test`).
"""

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from whisper_apr.bench.measure import write_json

MAX_GROWTH = 1.1  # of the server's memory in the second half of a soak test
REQUEST_SECONDS = 600.0


@contextmanager
def serving(arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Run the server on a free port, and yield its URL and its process id."""
    command = [sys.executable, "-m", "whisper_apr", "serve", "--port", "0", "--model", arguments.model]
    command += ["--compute-type", arguments.compute_type, "--max-requests", "64", "--seed", "0"]
    command += ["--audio-context", arguments.audio_context, "--batch-size", str(arguments.batch_size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+(?=/v1)", process.stdout.readline())
            assert found, "the server did not start"
            yield found[0], process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def client_for(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=url, timeout=REQUEST_SECONDS, limits=limits)


async def transcribe(client: httpx.AsyncClient, path: Path, language: str | None) -> tuple[str, float]:
    """Return the text of a recording, and its seconds."""
    form = {"model": "whisper-1", "response_format": "verbose_json"} | ({"language": language} if language else {})
    response = await client.post("/v1/audio/transcriptions", files={"file": path.open("rb")}, data=form)
    response.raise_for_status()
    body = response.json()
    return body["text"], body["duration"]


async def until_ready(client: httpx.AsyncClient) -> None:
    while True:
        try:
            (await client.get("/health")).raise_for_status()
            return
        except httpx.TransportError:
            await asyncio.sleep(0.1)


# ---- load -----------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url: str, pid: int, arguments: argparse.Namespace) -> None:
    """Print latency and throughput for each number of clients, in rounds that alternate between them."""
    paths: list[Path] = arguments.recordings
    async with client_for(url) as client:
        await until_ready(client)
        expected = {path: await transcribe(client, path, arguments.language) for path in paths}
        speeds: dict[int, list[float]] = {number: [] for number in arguments.clients}
        costs: dict[int, list[float]] = {number: [] for number in arguments.clients}
        latencies: dict[int, list[float]] = {number: [] for number in arguments.clients}
        n_wrong = 0

        async def work(queue: Iterator[Path], seconds: list[float]) -> float:
            nonlocal n_wrong
            total = 0.0
            for path in queue:
                started = time.perf_counter()
                text, duration = await transcribe(client, path, arguments.language)
                seconds.append(time.perf_counter() - started)
                n_wrong += text != expected[path][0]
                total += duration
            return total

        for _ in range(arguments.rounds):
            for number in arguments.clients:
                queue = iter(paths * arguments.repeat)
                started, used = time.perf_counter(), cpu_seconds(pid)
                totals = await asyncio.gather(*(work(queue, latencies[number]) for _ in range(number)))
                speeds[number].append(sum(totals) / (time.perf_counter() - started))
                costs[number].append((cpu_seconds(pid) - used) / (sum(totals) / 60))
    rows = []
    print("clients  p50 (s)  p95 (s)  hours per hour  (least to most)  CPU s per minute  (least to most)")
    for number in arguments.clients:
        ordered, speed = sorted(latencies[number]), statistics.median(speeds[number])
        p50, p95 = (ordered[min(len(ordered) - 1, round(part * len(ordered)))] for part in (0.5, 0.95))
        spread = f"({min(speeds[number]):.1f} to {max(speeds[number]):.1f})"
        cost = f"{statistics.median(costs[number]):16.2f}  ({min(costs[number]):.2f} to {max(costs[number]):.2f})"
        print(f"{number:7d}  {p50:7.2f}  {p95:7.2f}  {speed:14.1f}  {spread:>15}  {cost}")
        rows.append({"clients": number, "p50": p50, "p95": p95, "speeds": speeds[number], "costs": costs[number]})
    print(f"texts that differ from those of one client alone: {n_wrong}")
    assert not n_wrong
    if arguments.json:
        names = ("model", "compute_type", "audio_context", "batch_size")
        settings = {name: getattr(arguments, name) for name in names}
        durations = [duration for _, duration in expected.values()]
        write_json(arguments.json, settings=settings, durations=durations, rows=rows)


# ---- soak -----------------------------------------------------------------------------------------------------------


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB, without pages of mapped files."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(n) for n in re.findall(r"^(?:RssAnon|RssShmem):\s+(\d+) kB", status, re.MULTILINE)) / 1024


async def cut_upload(url: str, path: Path) -> None:
    """Send half of an upload, and leave."""
    data = path.read_bytes() * 4
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
    length = len(head) + len(data)
    writer.write(
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        + f"Content-Length: {length}\r\n\r\n".encode()
        + head
        + data[: len(data) // 2]
    )
    await writer.drain()
    await asyncio.sleep(random.random())
    writer.close()


async def leave(url: str, path: Path) -> None:
    """Leave before the answer."""
    async with client_for(url) as client:
        with_timeout = httpx.Timeout(REQUEST_SECONDS, read=random.uniform(0.05, 2))
        form = {"model": "whisper-1", "stream": random.choice(["true", "false"])}
        with suppress(httpx.ReadTimeout):
            await client.post(
                "/v1/audio/transcriptions", files={"file": path.open("rb")}, data=form, timeout=with_timeout
            )


async def read_slowly(url: str, path: Path) -> None:
    """Read the events of a stream byte by byte."""
    async with client_for(url) as client:
        form = {"model": "whisper-1", "stream": "true"}
        request = client.stream("POST", "/v1/audio/transcriptions", files={"file": path.open("rb")}, data=form)
        async with request as response:
            async for _ in response.aiter_bytes(16):
                await asyncio.sleep(0.01)


async def garbage(url: str, path: Path) -> None:
    """Send a recording that is none, a form that is none, or what is not HTTP."""
    data = random.randbytes(random.randrange(200_000))
    async with client_for(url) as client:
        match random.randrange(3):
            case 0:
                form = {"model": "whisper-1"}
                response = await client.post("/v1/audio/transcriptions", files={"file": data}, data=form)
                assert response.status_code == 400, response.text
            case 1:
                headers = {"Content-Type": "multipart/form-data; boundary=x"}
                response = await client.post("/v1/audio/transcriptions", content=data, headers=headers)
                assert response.status_code == 400, response.text
            case 2:
                host, port = url.removeprefix("http://").split(":")
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(data)
                writer.close()


async def break_off(url: str, path: Path) -> None:
    """Send samples to a live session, and leave it without saying so."""
    async with connect(f"{url.replace('http', 'ws')}/v1/audio/live") as socket:
        for _ in range(random.randrange(20)):
            await socket.send(random.randbytes(32_000))
        socket.transport.abort()


FAULTS = {
    "cut uploads": cut_upload,
    "clients that left": leave,
    "slow readers": read_slowly,
    "garbage": garbage,
    "live sessions broken off": break_off,
}


async def soak(url: str, pid: int, arguments: argparse.Namespace) -> None:
    """Mix requests with faults for some minutes, and print what went wrong."""
    paths: list[Path] = arguments.recordings
    counts: Counter[str] = Counter()
    measured: list[float] = []
    end = time.monotonic() + 60 * arguments.minutes
    async with client_for(url) as client:
        await until_ready(client)
        expected = {path: (await transcribe(client, path, arguments.language))[0] for path in paths}

        async def good() -> None:
            path = random.choice(paths)
            text, _ = await transcribe(client, path, arguments.language)
            counts["other texts"] += text != expected[path]

        async def run() -> None:
            while time.monotonic() < end:
                name = random.choice(["requests", "requests", *FAULTS])
                try:
                    await (good() if name == "requests" else FAULTS[name](url, random.choice(paths)))
                    counts[name] += 1
                except Exception as error:
                    counts[f"failed: {name}: {error!r:.80}"] += 1
                await asyncio.sleep(random.uniform(0, 2 * arguments.pause))

        async def measure() -> None:
            while time.monotonic() < end:
                measured.append(memory(pid))
                await asyncio.sleep(5)

        await asyncio.gather(measure(), *(run() for _ in range(arguments.clients[0])))
        for _ in range(600):  # until the last work is cancelled
            running = await _metrics(client, "whisper_apr_requests_running", "whisper_apr_live_sessions")
            if not any(running):
                break
            await asyncio.sleep(0.1)
    for name, count in sorted(counts.items()):
        print(f"{count:7d} {name}")
    half = len(measured) // 2
    first, second = statistics.median(measured[half // 2 : half]), statistics.median(measured[half:])
    print(f"memory (MiB): {measured[0]:.0f} at first, {max(measured):.0f} at most, {measured[-1]:.0f} at the end")
    tenths = [statistics.median(measured[i * len(measured) // 10 :][: max(1, len(measured) // 10)]) for i in range(10)]
    print(f"median of each tenth of the time: {', '.join(f'{each:.1f}' for each in tenths)}")
    print(f"median of the second quarter {first:.0f}, of the second half {second:.0f}")
    print(f"requests and sessions that are left: {running}")
    assert not any(running)
    assert not counts["other texts"]
    assert second < MAX_GROWTH * first
    assert not [name for name in counts if name.startswith("failed: requests")]


async def _metrics(client: httpx.AsyncClient, *names: str) -> list[float]:
    text = (await client.get("/metrics")).text
    return [float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0]) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("load", "soak"))
    parser.add_argument("recordings", nargs="+", type=Path, help="recordings to send")
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--audio-context", default="full")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--language", help="language of the recordings (default: the server detects it)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3, help="load: rounds through all numbers of clients")
    parser.add_argument("--repeat", type=int, default=4, help="load: requests for each recording in a round")
    parser.add_argument("--json", type=Path, help="load: file to write, for report.py")
    parser.add_argument("--minutes", type=float, default=10, help="soak: duration")
    parser.add_argument("--pause", type=float, default=0, help="soak: mean seconds between two requests of a client")
    arguments = parser.parse_args()
    with serving(arguments) as (url, pid):
        asyncio.run(load(url, pid, arguments) if arguments.mode == "load" else soak(url, pid, arguments))


if __name__ == "__main__":
    main()
