"""The live page of an avatar's training."""

from gs_reg.apps.view.live.allowance import Allowance

from ..view.looking import looked_at, weights
from .conftest import train


def test_the_result_is_the_same_to_the_bit(capture, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(Allowance, "left", True)
    client = looked_at(monkeypatch)
    assert train(capture, tmp_path / "run", "--view") == 0
    assert len(client.scene.pictures) == 21
    assert min(picture.std() for picture in client.scene.pictures) > 3  # they show something
    assert weights(tmp_path / "run") == weights(finished)
