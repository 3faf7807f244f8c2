"""Tiny random pipelines, saved once a session."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of one of tests.diffusion.tiny.PIPELINES, by name."""
    pytest.importorskip("diffusers", reason="the extra edit is not installed")
    from . import tiny as pipelines

    parent = tmp_path_factory.mktemp("pipelines")
    return lru_cache(maxsize=None)(lambda name: pipelines.folder(name, parent))
