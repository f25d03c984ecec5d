"""URLs as the network takes them, and as errors may show them."""

import re
from urllib.parse import quote, urlsplit, urlunsplit

from ..errors import ModelNotFoundError

SCHEMES = ("http", "https")
SHOWN = 200  # characters of a URL in an error

_LONGEST_HOST = 1000  # characters; a name has at most 253 letters, each of which may be some characters here
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]*))?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[.*\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_IN_PATH = "%/:[]@!$&'()*+,;=~"  # what stands there for itself, beside letters, digits and -._
_IN_QUERY = _IN_PATH + "?"


def is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """The URL for an error or a log: without a user's name and password, and without the query, which may hold a key."""
    url = re.split("[?#]", url, maxsplit=1)[0]
    scheme, slashes, rest = url.partition("//")
    authority, slash, path = rest.partition("/")
    url = f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"
    url = "".join(c if c.isprintable() else "\ufffd" for c in url)
    return url if len(url) <= SHOWN else f"{url[:SHOWN]}..."


def prepared_url(url: str) -> str:
    """The URL in ASCII, as a request takes it: a host name of other letters in IDNA, a path of others percent-encoded, no fragment.

    Raises ModelNotFoundError for one that is malformed, of another scheme than http or https, or with a user's name.
    """

    def fault(what: str) -> ModelNotFoundError:
        return ModelNotFoundError(f"{shown_url(url)}: not a URL that can be loaded: {what}")

    if _CONTROL.search(url):
        raise fault("there is a control character in it")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise fault("its host or port is malformed") from None
    if parts.scheme not in SCHEMES:
        raise fault(f"its scheme must be {' or '.join(SCHEMES)}")
    if "@" in parts.netloc:
        raise fault("it has a user's name or password, which is not supported")
    found = _AUTHORITY.fullmatch(parts.netloc)
    if found is None:
        raise fault("its host or port is malformed" if parts.netloc else "it has no host")
    host, port = found[1], (found[2] or "").lstrip("0")
    if found[2] and not (port and len(port) <= 5 and int(port) < 1 << 16):
        raise fault("its port must be from 1 to 65535")
    try:
        if not host.startswith("["):
            host = host.encode("idna").decode() if len(host) <= _LONGEST_HOST else ""
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise fault("its host or port is malformed")
    authority = f"{host}:{port}" if port else host
    path, query = quote(parts.path or "/", safe=_IN_PATH), quote(parts.query, safe=_IN_QUERY)
    return str(urlunsplit((parts.scheme, authority, path, query, "")))
