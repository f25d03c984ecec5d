"""Validate and normalize URLs for requests, and redact them for error messages."""

import re
from urllib.parse import quote, urlsplit, urlunsplit

from ..errors import ModelNotFoundError

SCHEMES = ("http", "https")
MAX_SHOWN = 200  # characters of a URL in an error message

_MAX_HOST = 1000  # characters, before IDNA encoding; encoded, a host name has at most 253
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]*))?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[.*\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_IN_PATH = "%/:[]@!$&'()*+,;=~"  # not percent-encoded, like letters, digits and -._
_IN_QUERY = _IN_PATH + "?"


def is_url(text: str) -> bool:
    """Return whether a text is an http or https URL rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def redact_url(url: str) -> str:
    """Return a URL for error messages and logs: without user name, password, fragment, and the query with its keys."""
    url = re.split("[?#]", url, maxsplit=1)[0]
    scheme, slashes, rest = url.partition("//")
    authority, slash, path = rest.partition("/")
    url = f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"
    url = "".join(c if c.isprintable() else "\ufffd" for c in url)
    return url if len(url) <= MAX_SHOWN else f"{url[:MAX_SHOWN]}..."


def normalize_url(url: str) -> str:
    """Return a URL in ASCII, ready for a request.

    A host name beyond ASCII is encoded with IDNA, other characters are percent-encoded, and the fragment is removed.

    Raises:
        ModelNotFoundError: The URL is malformed, its scheme is not http or https, or it has a user name or password.
    """

    def error(problem: str) -> ModelNotFoundError:
        return ModelNotFoundError(f"{redact_url(url)}: not a URL that can be loaded: {problem}")

    if _CONTROL.search(url):
        raise error("it contains a control character")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise error("its host or port is malformed") from None
    if parts.scheme not in SCHEMES:
        raise error(f"its scheme must be {' or '.join(SCHEMES)}")
    if "@" in parts.netloc:
        raise error("it has a user name or password, which is not supported")
    found = _AUTHORITY.fullmatch(parts.netloc)
    if found is None:
        raise error("its host or port is malformed" if parts.netloc else "it has no host")
    host, port = found[1], (found[2] or "").lstrip("0")
    if found[2] and not (port and len(port) <= 5 and int(port) < 1 << 16):
        raise error("its port must be from 1 to 65535")
    try:
        if not host.startswith("["):
            host = host.encode("idna").decode() if len(host) <= _MAX_HOST else ""
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise error("its host or port is malformed")
    authority = f"{host}:{port}" if port else host
    path, query = quote(parts.path or "/", safe=_IN_PATH), quote(parts.query, safe=_IN_QUERY)
    return str(urlunsplit((parts.scheme, authority, path, query, "")))
