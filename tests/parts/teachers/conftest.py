"""One scene of two parts, and tiny networks, for all tests of teachers."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from tests.diffusion.conftest import tiny as tiny  # the fixture of tiny pipelines

from .scene import TwoParts, two_parts


@pytest.fixture(scope="session")
def scene() -> TwoParts:
    return two_parts()


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a tiny network, by its model_type."""
    pytest.importorskip("transformers", reason="the extra edit is not installed")
    from .tiny import folder_of

    parent = tmp_path_factory.mktemp("networks")
    return lru_cache(maxsize=None)(lambda kind: folder_of(kind, parent))
