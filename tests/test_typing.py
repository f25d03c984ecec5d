"""What type checkers report about uses of the package, where they are installed; see typing/check.py."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECK = runpy.run_path(str(Path(__file__).parent / "typing" / "check.py"))


@pytest.mark.system
@pytest.mark.parametrize("checker", CHECK["CHECKERS"])
def test_the_expected_complaints_and_no_others(checker: str) -> None:
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    assert len(CHECK["expected"](checker)) > 30
    assert CHECK["differences"](checker) == []
