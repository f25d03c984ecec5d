"""What every test run shares."""

import pytest

from whisper_apr import simd


def pytest_report_header() -> str:
    return f"whisper_apr: backend {simd.backend()} of {', '.join(simd.backends())}; {simd.get_num_threads()} threads"


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
