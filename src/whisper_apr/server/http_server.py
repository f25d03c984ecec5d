"""The HTTP server: uvicorn with the application."""

import asyncio
import logging
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn

from ..errors import WhisperAprError
from ..model import Whisper
from .app import make_app
from .settings import Settings

_log = logging.getLogger(__name__)

MAX_MESSAGE = 16 << 20  # bytes of a WebSocket's message; OpenAI's API takes 15 MiB


class Server(uvicorn.Server):
    """The server of a model. `run(sockets=[...])` serves until SIGINT or SIGTERM, or until `should_exit` is set.

    It refuses new requests as soon as it is asked to end, and running ones are given `settings.stop_timeout` seconds.
    Connections without a request are closed at once.
    """

    def __init__(self, model: Whisper, settings: Settings, wyoming: socket.socket | None = None) -> None:
        """Make a server; see `make_app` for the arguments."""
        self.app = make_app(model, settings, wyoming)
        super().__init__(
            uvicorn.Config(
                self.app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="on",
                ws="websockets-sansio",
                ws_max_size=MAX_MESSAGE,
                timeout_graceful_shutdown=max(1, round(settings.stop_timeout)),
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let running requests end; a second SIGINT ends them."""
        self.app.state.service.admission.is_stopping = True
        _log.info("stopping, because of %s", signal.Signals(sig).name)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, close those without a request, and wait for running requests."""
        state = self.app.state
        state.service.admission.is_stopping = True
        if state.wyoming is not None:
            state.wyoming.begin_stop()
        # no `await` until uvicorn has closed the ports and told these connections to end
        closing = asyncio.create_task(self._close_late_connections(set(self.server_state.connections)))
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()

    async def _close_late_connections(self, told: set[Any]) -> None:
        """Tell other connections than `told` to end, too, as they appear.

        asyncio may have accepted connections that uvicorn does not know yet. uvicorn would wait for them.
        """
        while True:
            connections = set(self.server_state.connections)
            for connection in connections - told:
                connection.shutdown()
            told = connections
            await asyncio.sleep(0.05)


def listen(host: str, port: int, flags: str) -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        host: The address.
        port: The port; 0 is any free one.
        flags: The flags that set them, for the error message.

    Raises:
        WhisperAprError: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (")[0]  # the address follows
        raise WhisperAprError(f"cannot listen on {host}, port {port}: {reason}; choose others by {flags}") from error
