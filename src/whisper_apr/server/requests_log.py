"""Log and count each request."""

import logging
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics

_log = logging.getLogger(__name__)

LEFT = 499  # nginx' status for a client that left before the answer


class RequestLog:
    """ASGI middleware that logs and counts requests.

    Args:
        app: The application.
        metrics: Counts the requests.
        paths: Paths that are counted by their names; all others are counted as "other".
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it at its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), LEFT

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, status, perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        self._metrics.requests.add(path=path if path in self._paths else "other", status=str(status))
        if path.startswith("/v1/audio/"):
            self._metrics.seconds.observe(seconds)
        client = scope["client"][0] if scope.get("client") else "-"
        _log.info(
            "%s %s %s %d in %.3f s",
            *(client, scope["method"], path, status, seconds),
            extra={"request": {"client": client, "method": scope["method"], "path": path, "status": status}},
        )
