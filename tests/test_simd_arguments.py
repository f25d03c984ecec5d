"""Invalid arguments of `whisper_apr.simd`: ValueError or TypeError in one sentence. Other memory layouts: converted."""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simd_calls import ROWS, Row, W
from whisper_apr import simd

WITHOUT_ARGUMENTS = ("Graph", "backend", "backends", "get_num_threads")
NO_FUNCTIONS = (
    *("COMPUTE_TYPES", "PAGE", "BackendError"),
    *("ActivationBits", "FloatArray", "Operand", "Precision", "Weight"),
)


def test_every_public_name_and_every_parameter_is_in_the_table():
    assert {name.partition(".")[0] for name in ROWS} | {*WITHOUT_ARGUMENTS, *NO_FUNCTIONS} == set(simd.__all__)
    for name in WITHOUT_ARGUMENTS:
        assert not inspect.signature(getattr(simd, name)).parameters, name
    for name, row in ROWS.items():
        assert {*row.wrong, *row.free} == set(inspect.signature(row.call).parameters), name


def check_refused(row: Row, change: dict[str, Any]) -> None:
    """Check that a changed call raises an error with a one-line message."""
    with pytest.raises((ValueError, TypeError)) as caught:
        row.call(**row.valid() | change)
    message = str(caught.value)
    assert message, change
    assert "\n" not in message, message
    assert len(message) < 300, message
    assert type(caught.value) in (ValueError, TypeError, simd.BackendError), caught.value


@pytest.mark.parametrize("name", ROWS)
def test_invalid_arguments_raise_one_line_errors(backend, name):
    row = ROWS[name]
    if (name, backend) != ("run_peak", "numpy"):  # it has no peak to measure
        row.call(**row.valid())
    for parameter, wrong in row.wrong.items():
        valid = row.valid().get(parameter)
        for value in wrong(valid) if callable(wrong) else wrong:
            if value is None and parameter in row.optional:
                continue
            try:
                check_refused(row, {parameter: value})
            except BaseException as error:
                raise AssertionError(f"{name}({parameter}={value!r:.80})") from error
    for change in row.also:
        check_refused(row, change)


def overlapping(array: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of an array, and a float32 array of this shape that shares the copy's last element."""
    begin = (array.nbytes - 1) // 4 * 4
    memory = simd.aligned_empty((begin + 4 * int(np.prod(shape)),), np.uint8)
    copy = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy, memory[begin:].view(np.float32).reshape(shape)


def arrays_of(value: Any) -> list[tuple[str, np.ndarray]]:
    """Return an argument's arrays by field name: itself (as float32, which is not copied), or those of a dataclass."""
    if isinstance(value, np.ndarray):
        return [("", value.astype(np.float32) if value.dtype == np.float64 else value)]
    fields = getattr(value, "__dataclass_fields__", ())
    return [(name, getattr(value, name)) for name in fields if isinstance(getattr(value, name), np.ndarray)]


WITH_RESULT = [(name, "float32") for name, row in ROWS.items() if "out" in row.wrong]


@pytest.mark.parametrize(
    ("name", "kind"), [*WITH_RESULT, ("linear", "float16"), ("linear", "int8"), ("linear", "int4")]
)
def test_out_must_not_overlap_any_argument(backend, name, kind):
    """Including the arrays inside a packed weight or filters."""
    row = ROWS[name]
    valid = row.valid()
    if name == "linear":
        valid["weight"] = simd.prepare([W], kind)
    shape = valid["out"].shape
    tried = 0
    for parameter, value in valid.items():
        for part, array in arrays_of(value):
            if parameter == "out":
                continue
            copy, out = overlapping(array, shape)
            changed = replace(value, **{part: copy}) if part else copy
            with pytest.raises(ValueError, match="overlap"):
                row.call(**valid | {parameter: changed, "out": out})
            tried += 1
    assert tried >= (2 if name == "lstm" else 3)  # the arrays that it reads
    row.call(**valid)


@pytest.mark.parametrize(
    "name",
    ["softmax", "log_softmax", "logsumexp", "argmax", "gelu", "top_k", "layer_norm", "median_filter", "matmul", "dtw"],
)
def test_views_lists_and_other_types_are_converted(backend, name):
    """Strides, byte order, dtype and alignment do not affect the result."""
    row = ROWS[name]
    parameter = next(iter(row.wrong))
    valid = row.valid() | ({"out": None} if "out" in row.wrong else {})
    expected = row.call(**valid)
    x = np.round(np.asarray(valid[parameter]), 2)
    wide = np.repeat(x, 2, axis=-1)
    shifted = np.frombuffer(b"a" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    expected = row.call(**valid | {parameter: x})
    for other in (
        wide[..., ::2],
        x[::-1][::-1],
        np.asfortranarray(x),
        x.astype(">f4"),
        x.tolist(),
        x.astype(np.float64),
        shifted,
    ):
        np.testing.assert_array_equal(row.call(**valid | {parameter: other}), expected)
