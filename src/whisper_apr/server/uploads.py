"""Read a form with an upload. The file is kept in memory up to 1 MiB, and beyond that in a temporary file."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .errors import ApiError

MAX_FIELDS = 300
MAX_FIELD_BYTES = 6 << 20  # a recording of a known speaker, as a data URL
MAX_FORM_BYTES = 25 << 20  # of all fields, which are in memory: the recordings of four speakers
MAX_WAIT = 30.0  # seconds for the next bytes of an upload
DRAIN_SECONDS = 3.0  # that a refused request may go on sending


class _Parser(MultiPartParser):
    """A parser that limits the bytes of all fields together; files do not count, as they are kept on disk."""

    _n_byte = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take the next bytes of a part."""
        if self._current_part.file is None:
            self._n_byte += end - start
            if self._n_byte > MAX_FORM_BYTES:
                raise MultiPartException(f"its fields have more than {MAX_FORM_BYTES >> 20} MiB altogether")
        super().on_part_data(data, start, end)


def _too_large(max_bytes: int) -> ApiError:
    size = f"{max_bytes >> 20} MiB" if max_bytes >= 1 << 20 else f"{max_bytes} bytes"
    return ApiError(413, f"the request is too large; this server takes {size} at most", code="request_too_large")


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the request's body. Raises ApiError if it is larger than `max_bytes`, or its next bytes do not come."""
    size = 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(MAX_WAIT):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise ApiError(408, f"nothing of the upload came for {MAX_WAIT:g} s; send it again") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


async def read_form(request: Request, max_bytes: int) -> FormData:
    """Read a multipart form. Its files must be closed by `FormData.close`.

    Raises:
        ApiError: The request is not a form, is damaged, too large, or not sent to its end.
        ClientDisconnect: The client left.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise ApiError(415, f"the request must be a form, of the type multipart/form-data, not {kind or 'without one'}")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    stream = _limited(request, max_bytes)
    parser = _Parser(request.headers, stream, max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"the form is damaged: {error.message}") from None
    finally:
        await stream.aclose()


async def drain(request: Request) -> None:
    """Read and drop the rest of a refused request for a short time.

    If a connection is closed while the client still sends, the client may not see the response.
    """
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: the body was read already
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.stream():
                pass
