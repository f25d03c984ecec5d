"""The formats of the server's log."""

import json
import logging
import sys

import pytest

from whisper_apr.server.logs import JsonFormatter, LineFormatter


@pytest.fixture
def record():
    made = logging.LogRecord("whisper_apr.server", logging.INFO, "", 0, "GET %s", ("/a\nb\x1b",), None)
    made.created, made.msecs = 1.5, 500
    return made


def test_lines(record):
    assert LineFormatter().format(record) == "1970-01-01T00:00:01.500Z info GET /a\\nb\\x1b"


def test_json(record):
    record.request = {"path": "/a\nb\x1b", "status": 200}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "whisper_apr.server",
        "message": "GET /a\nb\x1b",
        "path": "/a\nb\x1b",
        "status": 200,
    }


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_tracebacks(record, formatter):
    try:
        raise ValueError("wrong")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = formatter.format(record)
    assert "ValueError: wrong" in text
    assert "Traceback" in text
