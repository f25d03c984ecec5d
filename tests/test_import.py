"""Importing the package loads no heavy module and starts no thread."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import whisper_apr

SOURCE = Path(whisper_apr.__file__).parent.parent

# Each takes long to import (the first ones longer than the package itself), or is missing in a browser.
HEAVY = (
    *("soundfile", "cffi", "huggingface_hub", "requests", "tqdm", "yaml", "torch", "scipy", "numba"),
    *("multiprocessing", "concurrent.futures", "asyncio", "http", "http.client", "http.server", "ssl"),
    *("urllib.request", "unittest", "xml", "wave", "sqlite3"),
    *("decimal", "difflib", "fractions", "hashlib", "html", "subprocess", "zipfile"),
)


def run(code: str) -> str:
    """Run code in a new interpreter."""
    begin = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def test_nothing_heavy_is_imported() -> None:
    code = "import numpy; before = set(sys.modules); import whisper_apr; print(*sorted(set(sys.modules) - before))"
    loaded = set(run(code).split())
    assert "whisper_apr.inference.transcribe" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads in /proc")
def test_no_thread_is_started() -> None:
    """Threads that NumPy's BLAS starts are not counted."""
    code = """
import os, threading
import numpy
before = len(os.listdir("/proc/self/task"))
import whisper_apr
print(threading.active_count(), len(os.listdir("/proc/self/task")) - before)
"""
    assert run(code) == "1 0"


def test_importing_writes_and_prints_nothing(tmp_path: Path) -> None:
    code = f"import os; os.chdir({str(tmp_path)!r}); import whisper_apr; print(os.listdir())"
    assert run(code) == "[]"


@pytest.mark.parametrize("missing", ["soundfile", "tqdm", "huggingface_hub"])
def test_optional_packages_missing(missing: str) -> None:
    """Arrays can be transcribed without them, as in a browser."""
    code = f"""
sys.modules[{missing!r}] = None
import numpy, whisper_apr
model = whisper_apr.load_model("digits")
print(model.transcribe(numpy.zeros(16000, numpy.float32), temperature=0.0).text == "")
"""
    assert run(code) == "True"


def test_public_names_exist() -> None:
    for name in whisper_apr.__all__:
        assert getattr(whisper_apr, name) is not None
    assert whisper_apr.__version__[0].isdigit()
    assert whisper_apr.__all__ == sorted(set(whisper_apr.__all__))


@pytest.mark.parametrize("name", whisper_apr.__all__)
def test_public_names_are_documented(name: str) -> None:
    """With the public methods and properties of classes; a dataclass's generated docstring does not count."""
    value = getattr(whisper_apr, name)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}(")
    for cls in value.__mro__ if inspect.isclass(value) else ():
        if cls.__module__.startswith("whisper_apr."):
            for attribute, member in vars(cls).items():
                if not attribute.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                    assert member.__doc__, f"{cls.__name__}.{attribute}"


def test_extension_links_no_other_runtime() -> None:
    """A second OpenMP or BLAS could conflict with that of torch or scikit-learn."""
    (extension,) = Path(whisper_apr.__file__).parent.glob("_simd/_kernels.*so")
    content = extension.read_bytes()
    for name in (b"libgomp", b"libiomp", b"libomp", b"GOMP_", b"__kmpc_", b"blas", b"libstdc++"):
        assert name not in content
