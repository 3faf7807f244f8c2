"""The heads, read once a session: anny's from the user's cache, where its first use leaves it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from gs_reg.priors import load_prior


@pytest.fixture(scope="session")
def anny():
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny is not installed")
    return load_prior("anny")


@pytest.fixture(scope="session")
def ict(real_data: Path):
    folder = real_data / "ict_facekit"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return load_prior("ict", folder)
