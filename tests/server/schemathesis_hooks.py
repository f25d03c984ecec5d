"""Hooks of schemathesis for `test_openapi.py`."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from recordings import silence, speech
from running_server import recording

# what `format: binary` stands for
schemathesis.openapi.format("binary", st.sampled_from([recording(speech("en")[8_000:24_000]), recording(silence(0.5))]))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Remove parameters that do not go together from a request that is to be accepted.

    The description says which these are in words only, since schemathesis does not take conditions beside binary data.
    """
    form = case.body
    if not isinstance(form, dict) or not case.meta.generation.mode.is_positive:
        return
    if "language" in form:
        form.pop("languages[]", None)
    response_format = form.get("response_format", "json")
    if response_format not in ("json", "verbose_json"):
        form.pop("stream", None)
    if response_format != "json":
        form.pop("include[]", None)
    if response_format != "verbose_json":
        form.pop("timestamp_granularities[]", None)
