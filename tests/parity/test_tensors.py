"""torch tensors as samples, which scripts written for openai-whisper pass."""

from collections.abc import Callable

import numpy as np
import pytest

import whisper_apr
from recordings import speech
from whisper_apr.errors import AudioError

pytestmark = pytest.mark.parity
X = (np.round(speech("en") * 2**15) / 2**15).astype(np.float32)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.double(),
        lambda x: (x * 2**15).short(),
        lambda x: x.requires_grad_(),
        lambda x: x[:, None],
        lambda x: x[:, None].repeat(1, 2),
        lambda x: list(x.split(777)),
        lambda x: iter(x.split(5000)),
    ],
    ids=["float32", "float64", "int16", "with gradients", "a column", "stereo", "a list of blocks", "a generator"],
)
def test_tensors_are_samples(form: Callable) -> None:
    import torch

    np.testing.assert_array_equal(whisper_apr.load_audio(form(torch.from_numpy(X.copy()))), X)


def test_bfloat16_is_widened() -> None:
    import torch

    x = torch.from_numpy(X).bfloat16()
    np.testing.assert_array_equal(whisper_apr.load_audio(x), x.float().numpy())


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda x: x.to("meta"), "no data"),
        (lambda x: x.to_sparse(), "to_dense"),
        (lambda x: x[None], "transpose it"),
        (lambda x: x > 0, "bool"),
        (lambda x: x + 1j * x, "complex64"),
    ],
)
def test_rejected_tensors(form: Callable, message: str) -> None:
    import torch

    with pytest.raises(AudioError, match=message):
        whisper_apr.load_audio(form(torch.from_numpy(X.copy())))
