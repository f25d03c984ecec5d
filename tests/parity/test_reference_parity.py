"""openai-whisper still gives the stored vectors; for the transcriptions, see test_transcribe_parity.py."""

from typing import Any

import make_reference
import numpy as np
import pytest

import reference

pytestmark = pytest.mark.parity


def test_vectors(openai: Any, digits: Any) -> None:
    fresh, committed = make_reference.vectors(digits.theirs), reference.vectors()
    assert fresh.keys() == committed.keys()
    for name, value in fresh.items():
        np.testing.assert_allclose(value, committed[name], rtol=0, atol=1e-4, err_msg=name)
