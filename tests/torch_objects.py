"""What is read of torch's objects, without torch."""

import numpy as np


class Tensor:
    """What is read of a torch tensor that requires gradients."""

    def __init__(self, values: np.ndarray, *, is_detached: bool = False, dtype: str = "torch.float32") -> None:
        self.values, self.is_detached, self.dtype = values, is_detached, dtype
        self.ndim = values.ndim

    def detach(self) -> "Tensor":
        return Tensor(self.values, is_detached=True, dtype=self.dtype)

    def cpu(self) -> "Tensor":
        return self

    def float(self) -> "Tensor":
        return Tensor(self.values, is_detached=self.is_detached)

    def numpy(self) -> np.ndarray:
        if not self.is_detached:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


class TorchDevice:
    """What is read of a `torch.device`."""

    def __init__(self, kind: str) -> None:
        self.type = kind

    def __str__(self) -> str:
        return self.type
