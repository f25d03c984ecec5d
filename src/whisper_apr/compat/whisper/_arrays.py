"""Arrays and devices with the methods of torch's that programs for openai-whisper call."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...audio.samples import detached
from ...errors import OptionError


class Device(str):
    """The name of a device, with the attributes of a `torch.device`."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The kind of device, "cpu"."""
        return str(self)

    @property
    def index(self) -> None:  # type: ignore[override]
        """None: there is one CPU."""
        return


CPU = Device("cpu")


def check_device(device: object) -> Device:
    """Return the device that a name or a `torch.device` stands for.

    Raises:
        OptionError: It is not the CPU.
    """
    if device is not None and str(device) not in ("cpu", "auto"):
        raise OptionError(f"device must be 'cpu', the only one that whisper_apr supports, not {str(device)!r}")
    return CPU


class Array(np.ndarray[Any, np.dtype[Any]]):
    """A NumPy array with those methods of a torch tensor that programs for openai-whisper call."""

    def to(self, *args: Any, **_: Any) -> "Array":
        """Return the array in another dtype, if one is given; devices must be the CPU."""
        dtype = None
        for arg in args:
            name = str(arg).rpartition("torch.")[2]
            if isinstance(arg, np.ndarray):
                dtype = arg.dtype.name
            elif name in _DTYPES:
                dtype = _DTYPES[name]
            elif isinstance(arg, str) or name != str(arg) or hasattr(arg, "type"):
                check_device(arg)
        return self if dtype is None else self.astype(dtype, copy=False).view(Array)

    def cpu(self) -> Self:
        """Return the array itself."""
        return self

    def cuda(self, *_: Any) -> "Array":
        """Raise OptionError: there is no GPU support."""
        check_device("cuda")
        return self

    def detach(self) -> Self:
        """Return the array itself."""
        return self

    def contiguous(self) -> "Array":
        """Return the array, as a copy if it is not contiguous."""
        return np.ascontiguousarray(self).view(Array)

    def numpy(self) -> npt.NDArray[Any]:
        """Return a plain NumPy array with the same memory."""
        return self.view(np.ndarray)

    def half(self) -> "Array":
        """Return the values in float16."""
        return self.to("float16")

    def float(self) -> "Array":
        """Return the values in float32."""
        return self.to("float32")

    def clone(self) -> Self:
        """Return a copy."""
        return self.copy()

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self.ndim

    def unsqueeze(self, dim: int) -> "Array":
        """Return a view with a dimension of length 1 at `dim`."""
        return np.expand_dims(self, dim).view(Array)


_DTYPES = {
    **{name: name for name in ("float16", "float32", "float64", "int32", "int64")},
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "bfloat16": "float32",
}


def as_array(value: Any) -> npt.NDArray[Any]:
    """Return the array that a tensor or another array-like stands for; also of a tensor that requires gradients."""
    return np.asarray(detached(value))


def is_array_like(value: object) -> bool:
    """Return whether a value is an array or a tensor."""
    return hasattr(value, "detach") or hasattr(value, "__array__")
