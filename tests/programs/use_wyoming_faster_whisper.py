"""The server of wyoming-faster-whisper, and a client."""

import asyncio
import contextlib
import socket
import subprocess
import tempfile
import wave

from installed import MODEL, RECORDING, command, show
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

TIMEOUT = 300


async def connect(port: int) -> AsyncTcpClient:
    """Return a client, once the server listens."""
    while True:
        client = AsyncTcpClient("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await client.connect()
            return client
        await asyncio.sleep(0.2)


async def transcribe(port: int) -> str:
    """Send the recording in pieces, and return the text that the server sends."""
    client = await asyncio.wait_for(connect(port), TIMEOUT)
    with wave.open(RECORDING) as file:
        form = file.getframerate(), file.getsampwidth(), file.getnchannels()
        data = file.readframes(file.getnframes())
    await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(*form).event())
    for start in range(0, len(data), 8192):
        await client.write_event(AudioChunk(*form, data[start : start + 8192]).event())
    await client.write_event(AudioStop().event())
    while True:
        event = await asyncio.wait_for(client.read_event(), TIMEOUT)
        assert event is not None, "the server closed the connection"
        if Transcript.is_type(event.type):
            return Transcript.from_event(event).text


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with tempfile.TemporaryDirectory() as folder:
    arguments = [
        "--uri",
        f"tcp://127.0.0.1:{port}",
        "--data-dir",
        folder,
        "--model",
        MODEL,
        "--compute-type",
        "float32",
    ]
    arguments += ["--stt-library", "faster-whisper", "--beam-size", "5", "--language", "en"]
    server = subprocess.Popen([*command("wyoming-faster-whisper"), *arguments])
    try:
        show(asyncio.run(transcribe(port)))
    finally:
        server.terminate()
        server.wait()
