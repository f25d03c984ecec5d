"""The ASGI application: its routes, and what all of them share."""

import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from .. import __version__
from ..model import Whisper
from .access import Access
from .endpoints import AudioEndpoint, Service
from .errors import ApiError, on_api_error, on_failure, on_http_error
from .metrics import CONTENT_TYPE, Metrics
from .page import page
from .parameters import ALIAS
from .requests_log import RequestLog
from .scheduler import Scheduler
from .settings import Settings
from .websockets import LiveSockets

OWNER = "whisper_apr"
END_SECONDS = 2  # in which requests that are ended, because the time to stop is over, close their files


def make_app(model: Whisper, settings: Settings, wyoming: socket.socket | None = None) -> Starlette:
    """Return the application. Its lifespan starts and ends the scheduler.

    Its `state.service` is what the endpoints share, `state.wyoming` the server of the Wyoming protocol or None.

    Args:
        model: The model that serves all requests.
        settings: The settings.
        wyoming: A socket that listens for the Wyoming protocol; None to do without it.
    """
    metrics = Metrics()
    service = Service(settings, Scheduler(model, settings.batch_size, metrics), metrics)
    metrics.add_gauge(
        "whisper_apr_requests_running", "Requests uploaded, waiting or running.", lambda: service.admission.count
    )
    metrics.add_gauge("whisper_apr_live_sessions", "Live sessions that are open.", lambda: service.live.count)
    information = Information(service)
    sockets = LiveSockets(service)
    routes: list[Route | WebSocketRoute] = [
        Route("/v1/audio/transcriptions", AudioEndpoint(service, "transcribe"), methods=["POST"]),
        Route("/v1/audio/translations", AudioEndpoint(service, "translate"), methods=["POST"]),
        Route("/v1/models", information.models),
        Route("/v1/models/{model:path}", information.model),
        WebSocketRoute("/v1/realtime", sockets.realtime),
        WebSocketRoute("/v1/audio/live", sockets.live),
        Route("/health", information.health),
        Route("/metrics", information.metrics),
        Route("/openapi.json", information.openapi),
        Route("/", page),
        Route("/static/{name}", page),
    ]
    middleware = [Middleware(RequestLog, metrics, frozenset(route.path for route in routes))]
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            )
        )
    middleware.append(Middleware(Access, settings))

    wyoming_server = None
    if wyoming is not None:
        from .wyoming import WyomingServer  # which imports the package wyoming

        wyoming_server = WyomingServer(service, wyoming)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.scheduler.start()
        try:
            if wyoming_server is not None:
                await wyoming_server.start()
            yield
        finally:
            if wyoming_server is not None:
                await wyoming_server.stop()
            await service.admission.wait_until_idle(END_SECONDS)
            service.live.stop()
            service.scheduler.stop()

    handlers: dict[Any, Any] = {ApiError: on_api_error, HTTPException: on_http_error, Exception: on_failure}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)
    app.state.service = service
    app.state.wyoming = wyoming_server
    return app


class Information:
    """The endpoints that tell about the server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started = int(time.time())

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": OWNER}

    async def models(self, request: Request) -> Response:
        """List the model, by its name and its alias."""
        names = dict.fromkeys((self._service.settings.model_id, ALIAS))
        return JSONResponse({"object": "list", "data": list(map(self._card, names))})

    async def model(self, request: Request) -> Response:
        """Return the model of a name."""
        name = request.path_params["model"]
        self._service.checker.check_model_id(name)
        return JSONResponse(self._card(name))

    async def health(self, request: Request) -> Response:
        """Tell whether requests are accepted."""
        if self._service.admission.is_stopping:
            return JSONResponse({"status": "stopping"}, 503)
        return JSONResponse({"status": "ok", "model": self._service.settings.model_id})

    async def openapi(self, request: Request) -> Response:
        """Return the description of the API."""
        document = json.loads(files(__package__).joinpath("openapi.json").read_text("utf-8"))
        document["info"]["version"] = __version__
        schemas = document["components"]["schemas"]
        schemas["ModelName"]["enum"] = [self._service.settings.model_id, ALIAS]
        schemas["Language"]["enum"] = self._service.checker.languages()
        return JSONResponse(document)

    async def metrics(self, request: Request) -> Response:
        """Return the numbers that Prometheus collects."""
        return Response(self._service.metrics.text(), headers={"content-type": CONTENT_TYPE})
