"""Read openai-whisper's `.pt` checkpoints, which `torch.save` writes, without torch.

Such a file is a zip archive. Its member `*/data.pkl` is a pickle; the members `*/data/0`, `*/data/1` ... hold the
tensors' data. Loading a pickle can execute code, so only the few globals that a checkpoint needs are allowed, and they
resolve to functions of this module.
"""

import io
import math
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint, make_checkpoint, make_dimensions
from ..errors import FormatError
from .pickle_guard import check_pickle
from .state_dict import openai_names

MAX_PICKLE = 3 << 18  # bytes; large-v3's has 0.2 MiB, and a loaded pickle can take 80 times its size in memory
MAX_INFLATION = 4  # the members may unpack to this many times the file's size, plus MAX_INFLATION_BYTES
MAX_INFLATION_BYTES = 48 << 20
MAX_DIMENSIONS = 8

_STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # the upper half of a float32; see _Archive.rebuild_tensor
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
}


@dataclass(frozen=True)
class _StorageType:
    """Replaces torch's storage classes, such as `torch.FloatStorage`."""

    name: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return _STORAGES[self.name]


@dataclass(frozen=True)
class _Storage:
    """The data of one or more tensors."""

    kind: _StorageType
    values: np.ndarray


class _Archive:
    """The zip archive, its storages, and the tensors that view them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.zip = zipfile.ZipFile(path)
        members = self.zip.infolist()
        with open(path, "rb") as file:
            self.size = file.seek(0, io.SEEK_END)
        # zipfile allocates whatever size the central directory claims
        if any(member.compress_size > self.size for member in members):
            raise FormatError(f"{path}: damaged (a member is larger than the file); load it again from its source")
        if sum(member.file_size for member in members) > MAX_INFLATION * self.size + MAX_INFLATION_BYTES:
            raise FormatError(
                f"{path}: not a checkpoint: its members would unpack to far more than its {self.size} bytes"
            )
        self.members = {member.filename: member for member in members}
        pickles = [name for name in self.members if name.count("/") <= 1 and name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise FormatError(f"{path}: a zip file, but not one that torch.save wrote (it contains no data.pkl)")
        self.folder = pickles[0][: -len("data.pkl")]
        self.storages: dict[str, np.ndarray] = {}

    def read_pickle(self) -> bytes:
        name = f"{self.folder}data.pkl"
        if self.members[name].file_size > MAX_PICKLE:
            raise FormatError(f"{self.path}: not a checkpoint: its data.pkl is larger than {MAX_PICKLE >> 10} KiB")
        order = self.members.get(f"{self.folder}byteorder")
        if order is not None and self.zip.read(order).strip() != b"little":
            raise FormatError(
                f"{self.path}: saved on a big-endian machine; load it with torch on a little-endian one, save it again"
            )
        data = self.zip.read(name)
        check_pickle(data, self.path)
        return data

    def _read_storage(self, key: str) -> np.ndarray:
        """Return a storage's bytes: memory-mapped if the member is stored (torch's way), unpacked if it is deflated."""
        member = self.members.get(f"{self.folder}data/{key}")
        if member is None:
            raise FormatError(
                f"{self.path}: incomplete: the tensor data {key!r} is missing; load the file again from its source"
            )
        if member.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(self.zip.read(member), np.uint8)
        with self.zip.open(member) as opened:  # compares the local header with the central directory
            opened.read(0)
        with open(self.path, "rb") as file:
            file.seek(member.header_offset + 26)
            lengths = file.read(4)
        name_length, extra_length = struct.unpack("<HH", lengths)
        begin = member.header_offset + 30 + name_length + extra_length
        if begin + member.file_size > self.size:
            raise FormatError(f"{self.path}: cut off; load the file again from its source")
        return (
            np.memmap(self.path, np.uint8, "r", begin, member.file_size) if member.file_size else np.zeros(0, np.uint8)
        )

    def find_storage(self, identity: tuple[Any, ...]) -> _Storage:
        """Resolve the pickle's persistent id: ("storage", type, key, location, number of elements)."""
        kind, key, count = identity[1], identity[2], identity[4]
        if (
            identity[0] != "storage"
            or not isinstance(kind, _StorageType)
            or not isinstance(key, str)
            or not isinstance(count, int)
        ):
            raise FormatError(f"{self.path}: its pickle refers to an object that is not a tensor storage")
        if key not in self.storages:
            self.storages[key] = self._read_storage(key)
        raw = self.storages[key]
        if count < 0 or count * kind.dtype.itemsize > raw.size:
            raise FormatError(
                f"{self.path}: damaged: the tensor data {key!r} has {raw.size} bytes, "
                f"not {count} numbers of type {kind.dtype}"
            )
        return _Storage(kind, raw[: count * kind.dtype.itemsize].view(kind.dtype))

    def rebuild_tensor(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> np.ndarray:
        """Replace torch._utils._rebuild_tensor_v2: return a view of the storage, which must contain all of it."""
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
            raise FormatError(f"{self.path}: damaged: its pickle describes a tensor in a way that torch does not")
        if any(not isinstance(n, int) or n < 0 for n in numbers):
            raise FormatError(
                f"{self.path}: damaged: a tensor's offset, shape and strides are {numbers}, not all integers from 0 on"
            )
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        # strides that repeat elements could blow a small storage up to any size; no weight has them
        if 0 not in shape and (last >= storage.values.size or math.prod(shape) > storage.values.size):
            raise FormatError(f"{self.path}: damaged: a tensor of shape {shape} reaches beyond its data")
        if 0 in shape:
            return np.zeros(shape, storage.values.dtype)
        item = storage.values.itemsize
        view = np.lib.stride_tricks.as_strided(
            storage.values[offset:], shape, [s * item for s in strides], writeable=False
        )
        if storage.kind.name == "BFloat16Storage":
            return (view.astype(np.uint32) << 16).view(np.float32)
        return view


class _Dict(dict[Any, Any]):
    """Replaces OrderedDict and ignores its attributes, such as the `_metadata` of a state_dict."""

    def __setstate__(self, state: object) -> None: ...


class _Fields:
    """Replaces a class of which only the attributes are used, such as `whisper.model.ModelDimensions`."""

    def __new__(cls, *_: object, **__: object) -> "_Fields":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        self.values: dict[Any, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.values = state if isinstance(state, dict) else {}


class _Unpickler(pickle.Unpickler):
    """Loads a checkpoint's pickle, without any global but those that a checkpoint needs."""

    def __init__(self, data: bytes, archive: _Archive) -> None:
        super().__init__(io.BytesIO(data))
        self.archive = archive

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _StorageType(name)
        allowed = {
            ("torch._utils", "_rebuild_tensor_v2"): self.archive.rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("collections", "OrderedDict"): _Dict,
            ("argparse", "Namespace"): _Fields,
            ("types", "SimpleNamespace"): _Fields,
        }
        if name == "ModelDimensions":  # of openai-whisper, or of a copy of it
            return _Fields
        if (module, name) not in allowed:
            raise FormatError(
                f"{self.archive.path}: its pickle asks for {module}.{name}, which no checkpoint needs; it was not run"
            )
        return allowed[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        if not isinstance(identity, tuple) or len(identity) != 5:
            raise FormatError(f"{self.archive.path}: its pickle refers to an object that is not a tensor storage")
        return self.archive.find_storage(identity)


def load_archive(where: str) -> Any:
    """Load the object that was saved by `torch.save`, tensors as memory-mapped arrays. Raises FormatError."""
    try:
        archive = _Archive(where)
        return _Unpickler(archive.read_pickle(), archive).load()
    except (FormatError, MemoryError):
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:  # OSError: a seek before the file's start
        raise FormatError(f"{where}: damaged ({error}); load the file again from its source") from error
    except Exception as error:  # a damaged pickle can raise any exception
        raise FormatError(f"{where}: its pickle cannot be read ({type(error).__name__}: {error})") from error


def _select_arrays(content: dict[Any, Any]) -> dict[str, np.ndarray]:
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, np.ndarray)}


def read_archive_tensors(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Read a file of named tensors, such as Hugging Face's `pytorch_model.bin`. Raises FormatError."""
    content = load_archive(str(path))
    if not isinstance(content, dict):
        raise FormatError(f"{path}: not a model's weights: it is not a dictionary of tensors")
    return _select_arrays(content)


def is_openai(path: str | PathLike[str]) -> bool:
    """Return whether an archive is an openai-whisper checkpoint, and not only named tensors. Raises FormatError."""
    content = load_archive(str(path))
    return isinstance(content, dict) and "dims" in content


def read_openai(path: str | PathLike[str]) -> Checkpoint:
    """Read an openai-whisper checkpoint, `{"dims": ..., "model_state_dict": ...}`.

    `dims` may be a dictionary, or an object with the dimensions as its attributes.

    Raises:
        FormatError: The file is damaged, incomplete, or not such a checkpoint.
    """
    where = str(path)
    content = load_archive(where)
    dims = content.get("dims") if isinstance(content, dict) else None
    dims = getattr(dims, "values", None) if isinstance(dims, _Fields) else dims
    if not isinstance(dims, dict):
        raise FormatError(
            f"{where}: not an openai-whisper checkpoint: it has no 'dims'; weights of Hugging Face's need config.json "
            "beside them"
        )
    state = content.get("model_state_dict")
    if not isinstance(state, dict):
        raise FormatError(f"{where}: not an openai-whisper checkpoint: it has no 'model_state_dict'")
    # openai-whisper keeps alignment heads in its code, by model name; other checkpoints may contain them
    tensors = openai_names(_select_arrays(state))
    return make_checkpoint(make_dimensions(dims, where), tensors, where, content.get("alignment_heads"))
