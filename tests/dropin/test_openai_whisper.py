"""openai-whisper's own tests, with whisper_apr in its place. Run `pytest tests/dropin`, which needs the extra `dropin`.

The tests come from openai-whisper's source distribution on PyPI, and are neither kept nor changed. Their recording is
in the folder that WHISPER_APR_REAL_AUDIO names.
"""

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REQUIREMENT = "openai-whisper==20250625 --hash=sha256:37a91a3921809d9f44748ffc73c0a55c9f366c85a3ef5c2ae0cc09540432eb96"
MAX_BYTES = 1 << 20  # limit for one file of the tests
RECORDING = "jfk.flac"

# Tests of each file, of which none fails and none is skipped. Left out are four of test_dtw_cuda_equivalence and four
# of test_median_filter_equivalence, which need a GPU, and test_transcribe with the twelve names of models whose weights
# are in no package.
EXPECTED = {"test_audio": 1, "test_normalizer": 4, "test_timing": 8, "test_tokenizer": 4, "test_transcribe": 2}
N_LEFT_OUT = 4 + 4 + 12


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with openai-whisper's tests and their recording."""
    folder = tmp_path_factory.mktemp("openai_whisper")
    (folder / "requirements.txt").write_text(REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", "--require-hashes"]
    subprocess.run([*command, "--dest", folder, "-r", folder / "requirements.txt"], check=True)
    (archive,) = folder.glob("*.tar.gz")
    tests = folder / "tests"
    tests.mkdir()
    with tarfile.open(archive) as file:
        for member in file.getmembers():
            parts = Path(member.name).parts
            if len(parts) == 3 and parts[1] == "tests" and member.isfile() and member.size <= MAX_BYTES:
                content = file.extractfile(member)
                assert content is not None
                (tests / parts[2]).write_bytes(content.read())
    recordings = os.environ.get("WHISPER_APR_REAL_AUDIO")
    if not recordings or not Path(recordings, RECORDING).is_file():
        pytest.fail(f"WHISPER_APR_REAL_AUDIO must name a folder that contains {RECORDING}", pytrace=False)
    (tests / RECORDING).write_bytes(Path(recordings, RECORDING).read_bytes())
    return tests


def test_all_pass(theirs: Path) -> None:
    report = theirs.parent / "report.xml"
    paths = [HERE, HERE.parent / "real", os.environ.get("PYTHONPATH")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(path) for path in paths if path)}
    command = [sys.executable, "-m", "pytest", "-p", "plugin", "-c", os.devnull, f"--rootdir={theirs}", str(theirs)]
    done = subprocess.run(
        [*command, f"--junitxml={report}"], capture_output=True, text=True, env=environment, check=False
    )
    print(done.stdout, done.stderr)  # shown if the test fails
    cases = ET.parse(report).getroot().iter("testcase")
    passed = Counter(case.attrib["classname"] for case in cases if not len(case.findall("*")))
    assert {name.rpartition(".")[2]: n for name, n in passed.items()} == EXPECTED
    assert f"{sum(EXPECTED.values())} passed, {N_LEFT_OUT} deselected" in done.stdout
    assert done.returncode == 0
