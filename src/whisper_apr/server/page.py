"""The page at `/`, which uses the API. Its style is that of the page of `whisper-apr web`."""

from functools import cache
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PATHS = {
    "index.html": "server/static/index.html",
    "page.js": "server/static/page.js",
    "page.css": "server/static/page.css",
    "subtitles.js": "server/static/subtitles.js",
    "style.css": "web/static/style.css",
    "result.css": "web/static/result.css",
    "icon.svg": "web/static/icon.svg",
}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@cache
def _content(name: str) -> bytes:
    return files("whisper_apr").joinpath(*PATHS[name].split("/")).read_bytes()


async def page(request: Request) -> Response:
    """Return a file of the page."""
    name = request.path_params.get("name", "index.html")
    if name not in PATHS:
        raise HTTPException(404)
    return Response(_content(name), headers=HEADERS | {"Content-Type": TYPES[name.rpartition(".")[2]]})
