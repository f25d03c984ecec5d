"""whisper.cpp with flash attention: the libwhisper.so that WHISPER_CPP_LIBRARY names, built for this machine.

Its API does not expose single steps of a beam search, so `beam` is missing. `prepare` writes model files in ggml
format: float16, and q8_0, which counts as int8.
"""

import ctypes
import os
from pathlib import Path

import numpy as np

from engines import END, PROMPT, ggml
from whisper_apr.formats import Checkpoint

COMPUTE_TYPES = ("float16", "int8")
_KINDS = {"float16": "float16", "int8": "q8_0"}


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


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    for compute_type, kind in _KINDS.items():
        ggml.write(checkpoint, folder / _file_name(compute_type), kind)


def _file_name(compute_type: str) -> str:
    return f"ggml-{_KINDS[compute_type]}.bin"


class Engine:
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        _LIBRARY.whisper_log_set(_quiet, None)
        parameters = _LIBRARY.whisper_context_default_params_by_ref().contents
        parameters.use_gpu, parameters.flash_attn = False, True
        path = str(folder / _file_name(compute_type)).encode()
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
