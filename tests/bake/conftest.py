"""Networks of this folder's bakes learn for fewer steps: they are small."""

from collections.abc import Iterator

import pytest

from gs_reg import regression


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regression, "STEPS", 200)
        yield
