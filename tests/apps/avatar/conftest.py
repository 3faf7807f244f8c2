"""A ball instead of a head: a tiny capture, and one finished run on it; read-only to the tests."""

from pathlib import Path

import numpy as np
import pytest

from gs_reg.apps import cli
from gs_reg.apps.avatar import sources
from gs_reg.data_tools.heads import read_capture
from gs_reg.data_tools.heads.types import Capture
from gs_reg.priors import load_prior
from tests.data_tools.heads import folders
from tests.data_tools.heads.folders import Shoot

from .ball import BallPrior, ball_capture

FLAGS = ("--preset", "ci", "--device", "cpu", "--checkpoint-minutes", "inf")
FLAGS += ("--distil.steps", "12", "--warm-up", "4", "--joint", "14", "--screen", "3", "--density.every", "6")


@pytest.fixture(scope="session")
def prior() -> BallPrior:
    return BallPrior()


@pytest.fixture(scope="session")
def capture(tmp_path_factory) -> Capture:
    return ball_capture(tmp_path_factory.mktemp("ball"))


@pytest.fixture(scope="session", autouse=True)
def ball_for_a_head(capture):
    """What the readers would find in the capture's folder, which is empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "read_capture", lambda *_: capture)
        patch.setattr(sources, "load_prior", lambda *_: BallPrior())
        yield


def train(capture: Capture, out: Path, *more: str) -> int:
    return cli.main(["avatar", "train", str(capture.folder), *FLAGS, "--out", str(out), *more])


@pytest.fixture(scope="session")
def finished(capture, ball_for_a_head, tmp_path_factory) -> Path:
    """The folder of an unbroken run, with a log: stopped runs are compared with it, which have none."""
    out = tmp_path_factory.mktemp("avatar") / "run"
    assert train(capture, out, "--log", "tensorboard", "--eval-every", "8") == 0
    return out


@pytest.fixture
def real_readers(monkeypatch):
    """Not those of the ball."""
    monkeypatch.setattr(sources, "read_capture", read_capture)
    monkeypatch.setattr(sources, "load_prior", load_prior)


@pytest.fixture
def person(tmp_path, real_readers) -> Path:
    """A small capture in folders as NeRSemble has them, of a mean head of anny, which is its prior."""
    pytest.importorskip("anny")
    folder = folders.nersemble_2(tmp_path, Shoot())
    ident = np.zeros(len(load_prior("anny").random_ident(0)), np.float32)
    for path in folder.glob("sequences/*/codes.npz"):
        np.savez(path, **{**np.load(path), "ident": ident})
    return folder
