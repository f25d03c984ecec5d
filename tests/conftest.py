"""What every test run shares."""

import sys

import pytest

from whisper_apr import simd


def pytest_report_header() -> str:
    return f"whisper_apr: backend {simd.backend()} of {', '.join(simd.backends())}; {simd.get_num_threads()} threads"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform == "emscripten":
        for item in items:
            if item.get_closest_marker("system"):
                item.add_marker(pytest.mark.skip(reason="WebAssembly has neither processes nor threads"))


@pytest.fixture(params=simd.backends())
def backend(request: pytest.FixtureRequest):
    """Run the test once on each backend that this machine has."""
    with simd.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[name for name in simd.backends() if name != "numpy"])
def compiled_backend(request: pytest.FixtureRequest):
    """As `backend`, without NumPy: for what holds bit for bit of the compiled kernels."""
    with simd.use_backend(request.param):
        yield request.param
