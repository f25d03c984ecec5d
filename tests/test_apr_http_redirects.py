"""Load a model through redirects and over https: followed where that is safe, otherwise a clear error."""

import itertools
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from apr_files import equal
from scripted_server import LAST, OK, SECRET, Script, Scripted, drips, fails, says, serves, shorten_timeout
from whisper_apr import load_model
from whisper_apr.errors import ModelNotFoundError
from whisper_apr.formats.apr import http as apr_http
from whisper_apr.formats.apr.http import open_stream

pytestmark = pytest.mark.system

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"  # self-signed, for localhost and 127.0.0.1, with its key

# ---- redirects --------------------------------------------------------------------------------------------------


def redirects(location: str | None, code: int = 302, body: bytes = b"") -> Script:
    where = "" if location is None else f"Location: {location}\n"
    return says(f"HTTP/1.1 {code} Found\n{where}Content-Length: {len(body)}\n\n", body)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(raw: bytes, scripted: Callable[..., Scripted], code: int) -> None:
    there = scripted(redirects("/f%C3%BCr", code), redirects("../f\xc3\xbcr dich?a=b c#d", code), serves(raw))
    url = scripted(redirects(f"//127.0.0.1:{there.port}/x/y?q", code)).url
    assert equal(open_stream(url).checkpoint, raw)
    paths = [request.split(b" ")[1] for request in there.requests]
    assert paths[:2] == [b"/x/y?q", b"/f%C3%BCr"]
    assert re.fullmatch(rb"/f[%0-9A-F]+r%20dich\?a=b%20c", paths[2])


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (None, "the server redirects without saying where to"),
        ("file:///etc/passwd", "the server redirects to file:///etc/passwd, which is not a valid"),
        ("ftp://hunter2@127.0.0.1/x", "the server redirects to ftp://127.0.0.1/x, which is not a valid"),
        ("data:,x", "the server redirects to data:,x, which is not a valid"),
        ("javascript:1", "the server redirects to .* which is not a valid http or https URL"),
        ("http:", "more than 10 redirects"),
        ("http://[::1", "the server redirects to .* which is not a valid http or https URL"),
        ("//127.0.0.1:99999/", "the server redirects to .*port must be from 1 to 65535"),
        ("http://a:hunter2@127.0.0.1/", "the server redirects to .*user name or password, which is not supported"),
        ("http://a..b/", "the server redirects to .*its host or port is malformed"),
        ("\x01\x02", "more than 10 redirects"),
        ("", "more than 10 redirects"),
        ("/model.apr", "more than 10 redirects"),
        ("?x=hunter2", "more than 10 redirects"),
        ("x/../model.apr", "more than 10 redirects"),
    ],
)
def test_invalid_redirects(scripted: Callable[..., Scripted], location: str | None, message: str) -> None:
    server = scripted(redirects(location))
    with fails(ModelNotFoundError, message, server.url):
        load_model(server.url + SECRET)
    assert len(server.requests) <= apr_http.MAX_REDIRECTS + 1


def test_redirect_loop(scripted: Callable[..., Scripted]) -> None:
    one = scripted(lambda connection, head: redirects(other.url)(connection, head))
    other = scripted(redirects(one.url))
    with fails(ModelNotFoundError, "more than 10 redirects", one.url):
        load_model(one.url)


def test_body_of_a_redirect_is_not_read(raw: bytes, scripted: Callable[..., Scripted]) -> None:
    there = scripted(serves(raw))
    endless = drips(f"HTTP/1.1 302 Found\r\nLocation: {there.url}\r\n\r\n".encode(), itertools.repeat(bytes(1000)))
    assert equal(open_stream(scripted(endless).url).checkpoint, raw)


# ---- https ------------------------------------------------------------------------------------------------------


@pytest.fixture
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.mark.usefixtures("trusted")
def test_https(raw: bytes, scripted: Callable[..., Scripted], context: ssl.SSLContext) -> None:
    server = scripted(says(OK + f"Content-Length: {len(raw)}\n\n", raw[:70_000]), serves(raw), context=context)
    assert equal(open_stream(server.url).checkpoint, raw)
    upwards = scripted(redirects(server.url))
    assert equal(open_stream(upwards.url).checkpoint, raw)


@pytest.mark.usefixtures("trusted")
def test_redirect_from_https_to_http_is_refused(
    raw: bytes, scripted: Callable[..., Scripted], context: ssl.SSLContext
) -> None:
    there = scripted(serves(raw))
    server = scripted(redirects(there.url + SECRET), context=context)
    with fails(ModelNotFoundError, f"the server redirects from https to http, {there.url}; use that URL", server.url):
        load_model(server.url)
    assert there.requests == []


def test_untrusted_certificate(scripted: Callable[..., Scripted], context: ssl.SSLContext) -> None:
    server = scripted(says(OK), context=context)
    with fails(ModelNotFoundError, "cannot be loaded .*certificate", server.url):
        load_model(server.url)
    assert server.requests == []


def test_http_and_https_confused(
    scripted: Callable[..., Scripted], context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_timeout(monkeypatch)
    server = scripted(says(OK), context=context)
    url = server.url.replace("https", "http")
    with fails(ModelNotFoundError, LAST, url):
        load_model(url)
    server = scripted(says(OK))
    url = server.url.replace("http", "https")
    with fails(ModelNotFoundError, LAST, url):
        load_model(url)
