"""whisper.cpp with flash attention: the libwhisper.so that WHISPER_CPP_LIBRARY names, built for this machine.

Its API does not expose single steps of a beam search, so `beam` is missing. `prepare` writes model files in ggml
format: float16, and q8_0 (blocks of 32 weights: a float16 scale, then 32 bytes), which counts as int8.
"""

import ctypes
import os
import struct
from dataclasses import astuple
from pathlib import Path

import numpy as np

from engines import END, PROMPT
from whisper_apr.audio import mel_filters
from whisper_apr.formats import Checkpoint
from whisper_apr.tokenizer.bpe import load_ranks

COMPUTE_TYPES = ("float16", "int8")
_MAGIC, _F32, _F16, _Q8_0 = 0x67676D6C, 0, 1, 8
_FILES = {"float16": ("ggml-f16.bin", 1), "int8": ("ggml-q8_0.bin", 7)}


class _Parameters(ctypes.Structure):
    """whisper_context_params"""

    _fields_ = (
        ("use_gpu", ctypes.c_bool),
        ("flash_attn", ctypes.c_bool),
        ("gpu_device", ctypes.c_int),
        ("dtw_token_timestamps", ctypes.c_bool),
        ("dtw_aheads_preset", ctypes.c_int),
        ("dtw_n_top", ctypes.c_int),
        ("n_heads", ctypes.c_size_t),
        ("heads", ctypes.c_void_p),
        ("dtw_mem_size", ctypes.c_size_t),
    )


def _library():
    path = os.environ.get("WHISPER_CPP_LIBRARY")
    if not path:
        raise ImportError("set WHISPER_CPP_LIBRARY to a libwhisper.so")
    library = ctypes.CDLL(path)
    library.whisper_init_from_file_with_params.restype = ctypes.c_void_p
    library.whisper_init_from_file_with_params.argtypes = (ctypes.c_char_p, _Parameters)
    library.whisper_get_logits.restype = ctypes.POINTER(ctypes.c_float)
    library.whisper_context_default_params_by_ref.restype = ctypes.POINTER(_Parameters)
    return library


_LIBRARY = _library()


def _quantize(weight: np.ndarray) -> bytes:
    blocks = weight.astype(np.float32).reshape(-1, 32)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / 127
    values = np.rint(np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales > 0)).astype(np.int8)
    return np.concatenate([scales.astype("<f2").view(np.int8), values], axis=1).tobytes()


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    dims = checkpoint.dims
    tokens = list(load_ranks("multilingual"))
    for file_name, file_type in _FILES.values():
        with open(folder / file_name, "wb") as file:
            vocabulary_first = (dims.n_vocab, *astuple(dims)[1:5], *astuple(dims)[6:], dims.n_mels, file_type)
            file.write(struct.pack("<I11i", _MAGIC, *vocabulary_first))
            filters = mel_filters(dims.n_mels)
            file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
            file.write(struct.pack("<i", len(tokens)))
            for token in tokens:
                file.write(struct.pack("<I", len(token)) + token)
            for name, tensor in checkpoint.tensors.items():
                kind = _F32 if tensor.ndim == 1 or "positional" in name else _F16
                shape = (len(tensor), 1) if name.endswith(("conv1.bias", "conv2.bias")) else tensor.shape
                if kind == _F16 and tensor.ndim == 2 and file_type == 7:
                    kind = _Q8_0
                data = _quantize(tensor) if kind == _Q8_0 else tensor.astype(("<f4", "<f2")[kind]).tobytes()
                file.write(struct.pack("<3i", len(shape), len(name), kind))
                file.write(struct.pack(f"<{len(shape)}i", *reversed(shape)) + name.encode() + data)


class Engine:
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        _LIBRARY.whisper_log_set(_quiet, None)
        parameters = _LIBRARY.whisper_context_default_params_by_ref().contents
        parameters.use_gpu, parameters.flash_attn = False, True
        path = str(folder / _FILES[compute_type][0]).encode()
        self.context = ctypes.c_void_p(_LIBRARY.whisper_init_from_file_with_params(path, parameters))
        if not self.context:
            raise RuntimeError(f"whisper.cpp cannot open {path.decode()}")
        self.threads = threads
        self.n_vocab = _LIBRARY.whisper_n_vocab(self.context)

    def mel(self, audio):
        """Compute the spectrogram, which whisper.cpp keeps in its context."""
        samples = audio.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        assert _LIBRARY.whisper_pcm_to_mel(self.context, samples, len(audio), self.threads) == 0

    def encode(self, mel):
        assert _LIBRARY.whisper_encode(self.context, 0, self.threads) == 0

    def greedy(self, features, n):
        new, n_past, chosen = PROMPT, 0, []
        for _ in range(n):
            assert (
                _LIBRARY.whisper_decode(self.context, (ctypes.c_int * len(new))(*new), len(new), n_past, self.threads)
                == 0
            )
            n_past += len(new)
            # logits are computed only for the last token, in the last row
            rows = np.ctypeslib.as_array(_LIBRARY.whisper_get_logits(self.context), (len(new), self.n_vocab))
            rows[-1, END] = -np.inf
            new = (int(rows[-1].argmax()),)
            chosen.append(new[0])
        return chosen


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _quiet(level, text, data):
    pass
