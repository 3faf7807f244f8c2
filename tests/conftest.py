"""Shared fixtures: the real data folder, found once."""

import os
from pathlib import Path

import pytest

from tests import typechecker

typechecker.install()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and splats; tests that need it skip with one line where it is absent."""
    path = Path(os.environ.get("GS_REG_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"real data not found at {path}: set GS_REG_DATA")
    return path
