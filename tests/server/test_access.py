"""API keys, and requests of other sites' pages."""

import httpx
import pytest

from running_server import running

OTHER = "https://example.org"


@pytest.fixture(scope="module")
def locked():
    with running(api_keys=("first", "sécond")) as server:
        yield server


@pytest.mark.parametrize("key", ["first", "sécond"])
def test_a_key_opens_the_server(locked, key):
    headers = {"Authorization": f"Bearer {key}".encode()}
    assert locked.get("/v1/models", headers=headers).status_code == 200
    assert locked.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer fir", "Bearer first2", "Basic first", "first", "Bearer é"])
def test_without_a_key(locked, header):
    headers = {} if header is None else {"Authorization": header.encode()}
    for path in ("/v1/models", "/metrics", "/nothing"):
        response = locked.get(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["code"] == "invalid_api_key"


def test_health_needs_no_key(locked):
    assert locked.get("/health").json() == {"status": "ok", "model": "digits"}


def test_pages_of_other_sites_are_refused(server):
    response = server.post("/v1/audio/transcriptions", headers={"Origin": OTHER})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert server.get("/v1/models", headers={"Origin": server.url}).status_code == 200  # the server's own page
    assert "access-control-allow-origin" not in server.get("/v1/models").headers


@pytest.mark.parametrize("origins", [(OTHER,), ("*",), ("https://a.example", OTHER)])
def test_cors_origins_are_allowed(origins):
    with running(cors_origins=origins, api_keys=("key",)) as server:
        request = {"Origin": OTHER, "Access-Control-Request-Method": "POST"}
        request["Access-Control-Request-Headers"] = "authorization"
        preflight = httpx.options(f"{server.url}/v1/audio/transcriptions", headers=request)
        assert preflight.status_code == 200
        allowed = preflight.headers["access-control-allow-origin"]
        assert allowed == ("*" if origins == ("*",) else OTHER)
        response = server.get("/v1/models", headers={"Origin": OTHER})  # an error can be read, too
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (401, allowed)
        if origins != ("*",):
            assert server.get("/v1/models", headers={"Origin": "http://evil.example"}).status_code == 403


def test_clients_are_closed_with_the_server_of_a_test():
    """Otherwise some other test has a ResourceWarning for their sockets."""
    with running() as server:
        client = server.client()
        client.models.list()
        assert not client.is_closed()
    assert client.is_closed()
