"""Calibration: what is measured, and what it changes in a file."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from encoded import digits
from models import dimensions, random_checkpoint
from whisper_apr import Recognizer, load_model
from whisper_apr.checkpoint import EMBEDDING, OUTLIERS, OUTPUT
from whisper_apr.cli import main
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.evaluation import calibrate, evaluate, find_recordings, summarize
from whisper_apr.evaluation.calibration import _layers_in_4_bits
from whisper_apr.formats.apr import read_apr, write_apr
from whisper_apr.hub import find_checkpoint
from whisper_apr.mixed import Calibration, input_moments, int8_matrices, outlier_inputs

DATA = Path(__file__).parent / "data"
SPOKEN = [DATA / "de.wav", DATA / "en.wav"]


@cache
def measured() -> Calibration:
    return calibrate(digits(), SPOKEN)


def test_matrices_of_4_bits_are_measured(tmp_path: Path) -> None:
    write_apr(find_checkpoint("digits"), tmp_path / "4.apr", "int4")
    tensors = read_apr(tmp_path / "4.apr").tensors
    in_4_bits = {name for name, tensor in tensors.items() if str(tensor.dtype) == "int4"}
    fused = {name.replace(".query.", ".query_key_value.") if ".attn." in name else name for name in measured()}
    found = {name.replace("cross_attn.key.", "cross_attn.key_value.") for name in fused}
    # the convolutions have 8 bits in models of OpenAI's sizes
    assert found == in_4_bits - {"encoder.conv1.weight", "encoder.conv2.weight"}


def test_moments_are_those_of_the_inputs() -> None:
    """The last layer's inputs have the power that its norm gives them, and their moments are those of any inputs."""
    model = digits()
    (block,) = measured()[EMBEDDING]
    expected = model.decoder.norm.weight**2 + model.decoder.norm.bias**2
    assert np.corrcoef(np.log(np.diag(block)), np.log(expected))[0, 1] > 0.5
    width = model.dims.n_text_state
    for name, blocks in measured().items():
        assert [each.shape for each in blocks] == [(width, width)] * (4 if name.endswith("mlp.2.weight") else 1)
        for each in blocks:
            assert each.dtype == np.float32
            np.testing.assert_allclose(each, each.T, rtol=1e-5, atol=1e-6 * np.diag(each).max())
            assert np.linalg.eigvalsh(each.astype(np.float64)).min() > -1e-4 * np.diag(each).max()


def test_the_same_recordings_give_the_same_file(tmp_path: Path) -> None:
    checkpoint = find_checkpoint("digits")
    for name, calibration in (("a", measured()), ("b", calibrate(digits(), iter(SPOKEN))), ("plain", None)):
        write_apr(checkpoint, tmp_path / name, "int4", calibration=calibration)
    write_apr(checkpoint, tmp_path / "other", "int4", calibration=calibrate(digits(), SPOKEN[:1]))
    a, b, plain, other = ((tmp_path / name).read_bytes() for name in ("a", "b", "plain", "other"))
    assert a == b
    assert len({a, plain, other}) == 3
    assert len(a) == len(plain)


def test_the_divergence_is_less_on_the_measured_recordings(tmp_path: Path) -> None:
    """On others it is so for larger models (docs/guides/quantized.md); two recordings measure little of this one."""
    checkpoint = find_checkpoint("digits")
    write_apr(checkpoint, tmp_path / "measured.apr", "int4", calibration=measured())
    models = {"plain": load_model("digits", compute_type="int4"), "measured": load_model(tmp_path / "measured.apr")}
    spoken = [each for each in find_recordings(DATA) if Path(each.path) in SPOKEN]
    scores = list(evaluate(models, spoken, reference=digits(), temperature=0.0))
    found = {}
    for name in models:
        agreement = summarize(each[name] for each in scores).agreement
        assert agreement is not None
        found[name] = agreement.total.divergence
    assert 0 < found["measured"] < 0.7 * found["plain"]


def test_the_layers_are_not_observed_afterwards() -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    model = load_model("digits")
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, SPOKEN, check_cancelled=cancel)
    encoder, decoder = _layers_in_4_bits(model)
    assert encoder.keys() | decoder.keys() == measured().keys()
    assert all(layer.observe is None for layer in (*encoder.values(), *decoder.values()))


def test_outliers_are_left_out() -> None:
    tensors = dict(find_checkpoint("digits").tensors)
    name = OUTPUT if OUTPUT in tensors else EMBEDDING
    whole = input_moments(tensors, name, measured())
    assert whole is measured()[EMBEDDING]
    columns = outlier_inputs(tensors)
    tensors[OUTLIERS] = np.asarray(tensors[name])[:, columns]
    found = input_moments(tensors, name, measured())
    assert found is not None
    assert not found[0][columns].any()
    assert not found[0][:, columns].any()
    rest = np.delete(np.arange(len(found[0])), columns)
    np.testing.assert_array_equal(found[0][np.ix_(rest, rest)], measured()[EMBEDDING][0][np.ix_(rest, rest)])
    first = "decoder.blocks.0.attn"
    assert input_moments(tensors, f"{first}.query_key_value.weight", measured()) is measured()[f"{first}.query.weight"]
    assert input_moments(tensors, "encoder.conv1.weight", measured()) is None


def test_an_output_projection_of_its_own_is_measured() -> None:
    checkpoint = random_checkpoint(dimensions(64, 2, 1, n_vocab=51865, audio_ctx=8))
    tensors = dict(checkpoint.tensors)
    tensors[OUTPUT] = np.asarray(tensors[EMBEDDING]) + np.float32(0.01)
    model = Recognizer(replace(checkpoint, tensors=tensors))
    encoder, decoder = _layers_in_4_bits(model)
    assert decoder[OUTPUT] is model.decoder.output
    assert EMBEDDING not in decoder
    assert not set(encoder) & int8_matrices(model.dims, True)


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_recordings_must_have_speech() -> None:
    for audios in ([], [np.zeros(16_000, np.float32)]):
        with pytest.raises(OptionError, match="no speech was found"):
            calibrate(digits(), audios)


def test_wrong_arguments(tmp_path: Path) -> None:
    for wrong in ("tests/data/en.wav", np.zeros(16_000, np.float32), 5):
        with pytest.raises(OptionError, match="audios must be a list"):
            calibrate(digits(), wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="model must be"):
        calibrate("digits", SPOKEN)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="check_cancelled"):
        calibrate(digits(), SPOKEN, check_cancelled=5)  # type: ignore[arg-type]
    with pytest.raises(AudioError):
        calibrate(digits(), [tmp_path / "nothing.wav"])
    for dtype in ("int8", None):
        with pytest.raises(OptionError, match="'int4' only"):
            write_apr(find_checkpoint("digits"), tmp_path / "8.apr", dtype, calibration=measured())
    assert not list(tmp_path.iterdir())


def test_int4_cannot_be_calibrated(tmp_path: Path) -> None:
    for dtype in ("int4", "int8"):
        write_apr(find_checkpoint("digits"), tmp_path / f"{dtype}.apr", dtype)
    with pytest.raises(OptionError, match="has int4 already"):
        write_apr(read_apr(tmp_path / "int4.apr"), tmp_path / "out.apr", "int4", calibration=measured())
    assert not (tmp_path / "out.apr").exists()
    for name, calibration in (("plain", None), ("measured", measured())):
        write_apr(read_apr(tmp_path / "int8.apr"), tmp_path / name, "int4", calibration=calibration)
    assert (tmp_path / "plain").read_bytes() != (tmp_path / "measured").read_bytes()


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_gives_what_python_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made.apr"
    assert main(["convert", "digits", str(made), "--dtype", "int4", "--calibrate", *map(str, SPOKEN)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{made}: ")
    assert not err
    write_apr(find_checkpoint("digits"), tmp_path / "expected.apr", "int4", calibration=measured())
    assert made.read_bytes() == (tmp_path / "expected.apr").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--calibrate", "{data}/en.wav"], 2, "--dtype int4 only"),
        (["--dtype", "int8", "--calibrate", "{data}/en.wav"], 2, "--dtype int4 only"),
        (["--dtype", "int4", "--calibrate", "{data}/silence.flac"], 2, "no speech was found"),
        (["--dtype", "int4", "--calibrate", "{data}/none.wav"], 1, "none.wav"),
        (["--dtype", "int4", "--calibrate", "{data}/*.none"], 2, "none"),
        (["--dtype", "int4", "--calibrate"], 2, "at least one argument"),
    ],
)
def test_the_command_refuses(
    arguments: list[str], status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [each.format(data=DATA) for each in arguments]
    assert main(["convert", "digits", str(tmp_path / "out.apr"), *given]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.apr").exists()
