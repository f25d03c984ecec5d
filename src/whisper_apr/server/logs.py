"""Logging of the server: one line, or one JSON object, per message on stderr."""

import json
import logging
import time

FORMATS = ("text", "json")


class JsonFormatter(logging.Formatter):
    """Formats each message as a JSON object on one line; a request's fields are items of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        body = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "request", {}),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time in UTC, as in RFC 3339."""
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class LineFormatter(JsonFormatter):
    """Formats each message as a line of text. Control characters, which a client may send, are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback if there is one."""
        message = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in record.getMessage())
        line = f"{self.formatTime(record)} {record.levelname.lower()} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(format: str) -> None:
    """Log the server's and the package's messages to stderr, in one of FORMATS. Warnings are logged, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else LineFormatter())
    for name in ("whisper_apr", "uvicorn", "py.warnings"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.captureWarnings(True)
