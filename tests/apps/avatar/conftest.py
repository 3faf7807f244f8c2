import pytest

from gs_reg.data_tools.heads.types import Capture

from .ball import BallPrior, ball_capture


@pytest.fixture(scope="session")
def prior() -> BallPrior:
    return BallPrior()


@pytest.fixture(scope="session")
def capture(tmp_path_factory) -> Capture:
    return ball_capture(tmp_path_factory.mktemp("ball"))
