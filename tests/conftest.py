"""Fixtures for all tests. Imports nothing of mmil at the top: the shape checks are hooked in at import."""

import signal
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """A run in the background of a script begins with Ctrl-C ignored, as would every command it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real films and reports beside the checkout; tests that need them are skipped where there are none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real data beside this checkout")
    return SHARED_DATA
