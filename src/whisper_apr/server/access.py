"""Who may use the server: API keys, and pages of other sites."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from .errors import ApiError
from .settings import Settings

OPEN_PATHS = frozenset({"/", "/health", "/openapi.json"})  # need no key
OPEN_FOLDER = "/static/"
# OpenAI's clients in a browser send the key of a WebSocket as a subprotocol, since they cannot set headers
KEY_PROTOCOL = "openai-insecure-api-key."


class Access:
    """ASGI middleware that refuses requests without a key, and requests from pages of other sites.

    Browsers let any page send requests to a server on 127.0.0.1, and open WebSockets to it; they name the page's origin
    in a header.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = [key.encode() for key in settings.api_keys]
        self._origins = settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        error = self._refusal(scope["path"], Headers(scope=scope))
        if error is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(error.response())
        else:
            await error.response()(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> ApiError | None:
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed(origin, headers.get("host", "")):
            return ApiError(403, f"pages of {origin[:100]} may not use this server", code="origin_not_allowed")
        is_open = path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
        if self._keys and not is_open and not self._has_key(headers):
            return ApiError(
                401,
                "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None

    def _is_allowed(self, origin: str, host: str) -> bool:
        return "*" in self._origins or origin in self._origins or urlsplit(origin).netloc == host

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip() if scheme.lower() == "bearer" else ""
        for protocol in headers.get("sec-websocket-protocol", "").split(","):
            if protocol.strip().startswith(KEY_PROTOCOL):
                given = protocol.strip().removeprefix(KEY_PROTOCOL)
        data = given.encode("latin-1")  # as headers are decoded
        # every key is compared, in a time that does not depend on where it differs
        return sum(hmac.compare_digest(data, key) for key in self._keys) > 0
