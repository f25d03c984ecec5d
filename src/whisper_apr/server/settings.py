"""The settings of a server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        model_id: Name of the model in the API.
        api_keys: A request must have one of these keys; none are needed if it is empty.
        cors_origins: Origins of other sites whose pages may use the API; "*" is all.
        max_upload: Most bytes of a request.
        max_requests: Most requests that are uploaded, waiting or running at once; others are refused.
        max_sessions: Most live sessions at once; others are refused.
        batch_size: Most windows that are decoded in one batch.
        timeout: Seconds after which a request is ended.
        stop_timeout: Seconds that running requests are given when the server is stopped.
        decoding: Options of `transcribe` for all requests; those of a request take precedence.
    """

    model_id: str
    api_keys: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_upload: int = 256 << 20
    max_requests: int = 32
    max_sessions: int = 4
    batch_size: int = 8
    timeout: float = 3600
    stop_timeout: float = 30
    decoding: Mapping[str, Any] = field(default_factory=dict)
