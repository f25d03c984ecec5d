"""openai-whisper's `.pt`: what `torch.save` writes, read without torch.

A zip file whose member `*/data.pkl` is a pickle, and `*/data/0` ... are the tensors' bytes. A pickle can run code when it is loaded: only the
few names that a checkpoint needs are allowed, and they lead to functions of ours.
"""

import io
import math
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from os import PathLike
from typing import Any, NoReturn

import numpy as np

from ..checkpoint import Checkpoint, make_checkpoint, make_dimensions
from ..errors import FormatError
from .pickle_guard import check_pickle

ZIP = b"PK\x03\x04"
MAX_PICKLE = 3 << 18  # bytes; large-v3's has 0.2 MiB, and loaded it takes up to 80 times as much
MAX_INFLATION = 4  # times the file's size, and MAX_INFLATION_BYTES more: what its members may unpack to in all
MAX_INFLATION_BYTES = 48 << 20
MAX_DIMENSIONS = 8

_STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # the upper half of a float32; see _Tensors.rebuild
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
}


@dataclass(frozen=True)
class _StorageType:
    name: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return _STORAGES[self.name]


@dataclass(frozen=True)
class _Storage:
    """The bytes of one or more tensors, and what type of number they are."""

    kind: _StorageType
    values: np.ndarray


def _fail(where: str, what: str) -> NoReturn:
    raise FormatError(f"{where}: {what}")


class _Tensors:
    """The archive's storages, and tensors made of them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.zip = zipfile.ZipFile(path)
        members = self.zip.infolist()
        with open(path, "rb") as file:
            self.size = file.seek(0, io.SEEK_END)
        # zipfile asks for as much memory as the directory says that a member takes
        if any(member.compress_size > self.size for member in members):
            _fail(path, "damaged (a member is larger than the file); load it again from where it came")
        if sum(member.file_size for member in members) > MAX_INFLATION * self.size + MAX_INFLATION_BYTES:
            _fail(path, f"its members would unpack to far more than its {self.size} bytes; not a checkpoint")
        self.members = {member.filename: member for member in members}
        pickles = [name for name in self.members if name.count("/") <= 1 and name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            _fail(path, "a zip file, but not one that torch.save wrote (it holds no data.pkl)")
        self.folder = pickles[0][: -len("data.pkl")]
        self.storages: dict[str, np.ndarray] = {}

    def read_pickle(self) -> bytes:
        name = f"{self.folder}data.pkl"
        if self.members[name].file_size > MAX_PICKLE:
            _fail(self.path, f"data.pkl is larger than {MAX_PICKLE >> 10} KiB; not a checkpoint")
        order = self.members.get(f"{self.folder}byteorder")
        if order is not None and self.zip.read(order).strip() != b"little":
            _fail(self.path, "written on a big-endian machine; save it again on a little-endian one")
        data = self.zip.read(name)
        check_pickle(data, self.path)
        return data

    def _bytes(self, key: str) -> np.ndarray:
        """A member's bytes: mapped where it is stored as it is, as torch does; unpacked where it is deflated."""
        member = self.members.get(f"{self.folder}data/{key}")
        if member is None:
            _fail(self.path, f"the tensors' data {key!r} is missing; the file is incomplete")
        if member.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(self.zip.read(member), np.uint8)
        with self.zip.open(member) as opened:  # checks the local header against the directory
            opened.read(0)
        with open(self.path, "rb") as file:
            file.seek(member.header_offset + 26)
            lengths = file.read(4)
        begin = (
            member.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        )
        if begin + member.file_size > self.size:
            _fail(self.path, "cut off; load it again from where it came")
        return (
            np.memmap(self.path, np.uint8, "r", begin, member.file_size) if member.file_size else np.zeros(0, np.uint8)
        )

    def storage(self, identity: tuple[Any, ...]) -> _Storage:
        """What the pickle refers to as ("storage", type, key, location, number of elements)."""
        kind, key, count = identity[1], identity[2], identity[4]
        if (
            identity[0] != "storage"
            or not isinstance(kind, _StorageType)
            or not isinstance(key, str)
            or not isinstance(count, int)
        ):
            _fail(self.path, "the pickle refers to something that is no tensor storage")
        if key not in self.storages:
            self.storages[key] = self._bytes(key)
        raw = self.storages[key]
        if count < 0 or count * kind.dtype.itemsize > raw.size:
            _fail(
                self.path,
                f"the tensors' data {key!r} holds {raw.size} bytes, {count} numbers of {kind.dtype} are expected",
            )
        return _Storage(kind, raw[: count * kind.dtype.itemsize].view(kind.dtype))

    def rebuild(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> np.ndarray:
        """In the place of torch._utils._rebuild_tensor_v2: a view of the storage, which must hold all of it."""
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
            _fail(self.path, "a tensor is not described as torch describes one")
        if any(not isinstance(n, int) or n < 0 for n in numbers):
            _fail(self.path, f"a tensor has an offset, shape or stride that is not a whole number: {numbers}")
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        # more elements than numbers: the same number repeated by strides, which no weight is
        if 0 not in shape and (last >= storage.values.size or math.prod(shape) > storage.values.size):
            _fail(self.path, f"a tensor of shape {shape} reaches beyond its data")
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
    """In the place of OrderedDict, which may carry attributes: state_dict's `_metadata`. They are left out."""

    def __setstate__(self, state: object) -> None: ...


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, tensors: _Tensors) -> None:
        super().__init__(io.BytesIO(data))
        self.tensors = tensors

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _StorageType(name)
        allowed = {
            ("torch._utils", "_rebuild_tensor_v2"): self.tensors.rebuild,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("collections", "OrderedDict"): _Dict,
        }
        if (module, name) not in allowed:
            _fail(self.tensors.path, f"its pickle asks for {module}.{name}, which no checkpoint needs; it was not run")
        return allowed[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        if not isinstance(identity, tuple) or len(identity) != 5:
            _fail(self.tensors.path, "the pickle refers to something that is no tensor storage")
        return self.tensors.storage(identity)


def is_archive(path: str | PathLike[str]) -> bool:
    """Whether a file begins as what `torch.save` writes: as a zip file."""
    with open(path, "rb") as file:
        return file.read(len(ZIP)) == ZIP


def _load(where: str) -> Any:
    """What was given to `torch.save`. Tensors are mapped from the file where they lie in it as they are. Raises FormatError."""
    try:
        tensors = _Tensors(where)
        return _Unpickler(tensors.read_pickle(), tensors).load()
    except FormatError:
        raise
    except MemoryError:
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:  # OSError: a place before the file's beginning
        raise FormatError(f"{where}: damaged ({error}); load it again from where it came") from error
    except Exception as error:  # a pickle can end in any exception; none of them is more than that
        raise FormatError(f"{where}: its pickle cannot be read ({type(error).__name__}: {error})") from error


def _arrays(content: dict[Any, Any]) -> dict[str, np.ndarray]:
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, np.ndarray)}


def read_archive_tensors(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """A file that holds nothing but tensors by name, as Hugging Face's `pytorch_model.bin`. Raises FormatError."""
    content = _load(str(path))
    if not isinstance(content, dict):
        _fail(str(path), "not a model's weights: it holds no tensors by name")
    return _arrays(content)


def read_openai(path: str | PathLike[str]) -> Checkpoint:
    """Read a `.pt` that openai-whisper's models come as: `{"dims": ..., "model_state_dict": ...}`.

    Raises FormatError.
    """
    where = str(path)
    content = _load(where)
    if not isinstance(content, dict) or not isinstance(content.get("dims"), dict):
        _fail(where, "not openai-whisper's checkpoint: it has no 'dims'")
    state = content.get("model_state_dict")
    if not isinstance(state, dict):
        _fail(where, "not openai-whisper's checkpoint: it has no 'model_state_dict'")
    dims = make_dimensions(content["dims"], where)
    # openai-whisper's own heads are known by name, not in the file; a checkpoint of ours may carry them
    return make_checkpoint(dims, _arrays(state), where, content.get("alignment_heads"))
