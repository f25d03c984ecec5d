"""Errors in the shape of OpenAI's API: `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

# A status that a client had better not send the request again for, although OpenAI's clients would do so.
NO_RETRY = {"x-should-retry": "false"}


class ApiError(Exception):
    """An error that a request is answered with.

    Args:
        status: HTTP status.
        message: What is wrong, in one sentence.
        param: The parameter that is wrong.
        code: Name of the error, for programs.
        headers: Of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers

    def as_json(self) -> dict[str, Any]:
        """Return the body of the response."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(self.as_json(), self.status, self.headers)


def bad_parameter(param: str, message: str, code: str | None = None) -> ApiError:
    """Return the error for a parameter with a value that is not allowed."""
    return ApiError(400, message, param=param, code=code)


async def on_api_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a request with an ApiError."""
    assert isinstance(error, ApiError)
    return error.response()


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer a request for an unknown path, or with a method that the path does not have."""
    assert isinstance(error, HTTPException)
    place = f"{request.method} {request.url.path}"
    reasons = {404: f"there is no {place}; see /openapi.json", 405: f"{place} is not allowed; see /openapi.json"}
    message = reasons.get(error.status_code, f"{place}: {error.detail}")
    return ApiError(error.status_code, message, headers=error.headers).response()


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that failed because of a bug, which is logged elsewhere."""
    return ApiError(500, "the server failed; its log has the reason").response()
