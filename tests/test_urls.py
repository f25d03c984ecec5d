"""URLs: normalization, errors for malformed ones, and no secrets in messages."""

import http.client
import re
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr import load_model
from whisper_apr.errors import ModelNotFoundError
from whisper_apr.formats.apr import http as apr_http
from whisper_apr.formats.urls import MAX_SHOWN, is_url, normalize_url, redact_url


@pytest.mark.parametrize(
    ("url", "prepared"),
    [
        ("http://host", "http://host/"),
        ("HTTP://Host/A", "http://Host/A"),
        ("https://a.b-c_d.example:8443/x/y.apr?a=b&c#d", "https://a.b-c_d.example:8443/x/y.apr?a=b&c"),
        ("http://host?x", "http://host/?x"),
        ("http://host:/x", "http://host/x"),
        ("http://host:0080/x", "http://host:80/x"),
        ("http://host./x", "http://host./x"),
        ("http://[::1]:8008/x", "http://[::1]:8008/x"),
        ("http://127.0.0.1/für dich?ü ö", "http://127.0.0.1/f%C3%BCr%20dich?%C3%BC%20%C3%B6"),
        ("http://host/%20%zz[1]", "http://host/%20%zz[1]"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
    ],
)
def test_normalize_url(url, prepared):
    assert normalize_url(url) == prepared
    assert normalize_url(prepared) == prepared


MALFORMED = [
    ("http://", "it has no host"),
    ("https://", "it has no host"),
    ("http:///path", "it has no host"),
    ("http://:80/", "its host or port is malformed"),
    ("http://?x", "it has no host"),
    ("http://[::1", "its host or port is malformed"),
    ("http://::1/", "its host or port is malformed"),
    ("http://[::1]x/", "its host or port is malformed"),
    ("http://[]/", "its host or port is malformed"),
    ("http://[v1.a]/", "its host or port is malformed"),
    ("http://a b/", "its host or port is malformed"),
    ("http://a..b/", "its host or port is malformed"),
    ("http://.a/", "its host or port is malformed"),
    ("http://-/", "its host or port is malformed"),
    ("http://a%20b/", "its host or port is malformed"),
    ("http://a\\b/", "its host or port is malformed"),
    ("http://\u2100.example/", "its host or port is malformed"),
    ("http://\u00df\u0301\u200e/", "its host or port is malformed"),
    (f"http://{'a' * 64}.example/", "its host or port is malformed"),
    (f"http://{'a.' * 100_000}/", "its host or port is malformed"),
    ("http://host:x/", "its host or port is malformed"),
    ("http://host:-1/", "its host or port is malformed"),
    ("http://host:\u0663/", "its host or port is malformed"),
    ("http://host:0/", "its port must be from 1 to 65535"),
    ("http://host:65536/", "its port must be from 1 to 65535"),
    (f"http://host:{'9' * 5000}/", "its port must be from 1 to 65535"),
    ("http://host/a\nb", "control character"),
    ("http://host/\0", "control character"),
    ("http://ho\tst/", "control character"),
    ("http://host/\ud800", "control character"),
    ("http://user@host/", "a user name or password, which is not supported"),
    ("http://user:hunter2@host/", "a user name or password, which is not supported"),
    ("http://user:hunter2@host:x/?hunter2", "a user name or password"),
    ("http://hunter2@[::1/", "its host or port is malformed"),
    ("http://a@hunter2@host/", "a user name or password"),
]


@pytest.mark.parametrize(("url", "message"), MALFORMED)
def test_malformed_urls(url, message, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a host was looked up"))
    for make in (normalize_url, load_model):
        with pytest.raises(ModelNotFoundError, match=re.escape(message)) as caught:
            make(url)
        text = str(caught.value)
        assert text.startswith("http")
        assert text.isprintable()
        assert len(text) < MAX_SHOWN + 200
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        *((url, "must begin with http://") for url in ("ftp://host/x", "file:///etc/passwd", "://", "s3://b:c@d/x")),
        *((url, "no model named") for url in ("http:/x", "http:x")),
        ("//host/x", "//host/x: no such file or folder"),
    ],
)
def test_other_schemes(url, message):
    assert not is_url(url)
    with pytest.raises(ModelNotFoundError):
        normalize_url(url)
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        load_model(url)
    assert "b:c" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/x", "http://host/x"),
        ("http://user:pass@host/x?key=1#y", "http://host/x"),
        ("http://user:p@ss@host/x@y", "http://host/x@y"),
        ("http://host#x?y", "http://host"),
        ("http://ho\x1bst/\u2028", "http://ho\ufffdst/\ufffd"),
        ("data:,x", "data:,x"),
        ("http://h/" + "a" * 1000, "http://h/" + "a" * (MAX_SHOWN - 9) + "..."),
    ],
)
def test_redact_url(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(("code", "tries"), [("EAI_NONAME", 1), ("EAI_AGAIN", apr_http.RETRIES + 1)])
def test_unknown_host(monkeypatch, code, tries):
    asked = []

    def nobody(*arguments, **_):
        asked.append(arguments[0])
        raise socket.gaierror(getattr(socket, code), "nothing known")

    monkeypatch.setattr(apr_http, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(ModelNotFoundError, match=r"^http://name\.invalid/x: .*gaierror: .*nothing known"):
        load_model("http://name.invalid/x?hunter2")
    assert asked == ["name.invalid"] * tries


@given(st.text(max_size=30) | st.text(st.sampled_from("ab:/?#[]@.%0189\\ ü\n"), max_size=30))
def test_arbitrary_urls(rest):
    url = f"http://{rest}"
    shown = redact_url(url)
    assert shown.isprintable()
    try:
        prepared = normalize_url(url)
    except ModelNotFoundError as error:
        assert str(error).startswith(f"{shown}: not a URL that can be loaded: ")  # noqa: PT017
        return
    assert prepared.isascii()
    assert normalize_url(prepared) == prepared
    parts = urlsplit(prepared)
    connection = http.client.HTTPConnection(parts.netloc)  # takes the host and the port
    connection.sock = _Sink()  # type: ignore[assignment]
    connection.request("GET", prepared)
    connection.close()


class _Sink:
    def sendall(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass
