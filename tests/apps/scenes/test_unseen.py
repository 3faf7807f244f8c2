"""What no photo saw: share and mask of every held-out view, and by how many photos each training pixel is seen."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.apps.runs.folder import Run
from gs_reg.apps.scenes.unseen import save_unseen, without_filled
from gs_reg.data_tools import synthetic
from gs_reg.data_tools.synthetic import Rig
from gs_reg.io import checkpoint
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.render import RenderConfig


@pytest.fixture(scope="module")
def view():
    return synthetic.plane(Rig(64, 48, cameras=1, held_out=0, samples=1)).views[0]


@pytest.fixture(scope="module")
def splats(view):
    return PixelAligned.from_views([view], [view.depths[0]], PixelAlignedConfig())().detach()


def white(path) -> np.ndarray:
    return np.asarray(Image.open(path))[..., 0] > 127


def test_half_a_picture_is_unseen(view, splats, tmp_path):
    (tmp_path / "masks").mkdir()
    left = (torch.arange(48 * 64) % 64) < 32
    share = save_unseen(Run(tmp_path), "train_00", view, splats.rows(left), RenderConfig())
    mask = white(tmp_path / "masks" / "train_00_unseen.png")
    assert share == pytest.approx(mask.mean()) and mask[:, 34:].all() and not mask[:, :30].any()
    assert save_unseen(Run(tmp_path), "train_00", view, splats, RenderConfig()) < 0.01


def test_what_was_made_up_does_not_count_as_seen(view, splats, tmp_path):
    filled = (torch.arange(48 * 64) % 64) >= 32
    state = {"step": 0}
    checkpoint.save(tmp_path / "checkpoints", 0, model={"filled": filled}, optim={}, state=state)
    assert len(without_filled(Run(tmp_path), splats)) == 48 * 32
    assert len(without_filled(Run(tmp_path), splats.rows(slice(7)))) == 7, "not of these rows"
    assert len(without_filled(Run(tmp_path / "none"), splats)) == 48 * 64


def test_a_run_tells_what_it_did_not_see(finished):
    result = json.loads((finished / "result.json").read_text())
    mask = white(finished / "masks" / "test_00_unseen.png")
    assert result["views"]["test_00.png"]["unseen"] == pytest.approx(mask.mean(), abs=1e-6)
    assert mask.shape == (48, 64) and 0 <= mask.mean() < 0.2
    assert result["seen_once"].keys() == {"train_00.png", "train_01.png", "train_02.png"}
    for name, share in result["seen_once"].items():
        count = np.load(finished / "masks" / f"{name[:-4]}_views.npy")
        assert count.shape == (48, 64) and count.max() == 3 and (count == 1).mean() == pytest.approx(share, abs=1e-6)
        assert (finished / "masks" / f"{name[:-4]}_views.png").is_file()
    assert "% of pixels in no photo" in (finished / "log.txt").read_text()
    assert f"{result['mean']['unseen']:.1%}" in (finished / "report.html").read_text()
