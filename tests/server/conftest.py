"""Fixtures of the server's tests."""

import pytest

from running_server import Running, running


@pytest.fixture(scope="module")
def server() -> Running:
    """A server of the `digits` model with the default settings, shared by a module's tests."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Running):
    """OpenAI's client of the server."""
    return server.client()
