"""ALIKED keypoints with the authors' weights, where the data lies."""

import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth.aliked import Aliked
from gs_reg.data_tools.depth.sparse import pair_points
from gs_reg.data_tools.synthetic import Rig
from gs_reg.errors import InputError, MissingPart


def test_bad_weights(tmp_path):
    with pytest.raises(MissingPart, match=r"--depth.aliked .*away.pth: no such file: download models/aliked-n16.pth"):
        Aliked(tmp_path / "away.pth")
    path = tmp_path / "other.pth"
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"other.pth: no ALIKED weights \(KeyError\)"):
        Aliked(path)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"other.pth: no ALIKED weights"):
        Aliked(path)


def test_points_lie_on_the_surface(real_data):
    """The triangulated points of two photos, of a size that is no multiple of the network's strides."""
    scene = synthetic.plane(Rig(160, 120, cameras=2, octaves=4, held_out=0, samples=2))
    views = scene.training_scene().views
    points = pair_points(views, real_data / "weights" / "aliked-n16.pth")[0, 1]
    camera = views[0].cameras
    p = points.float() @ camera.viewmats[0, :3, :3].T + camera.viewmats[0, :3, 3]
    xy = (p[:, :2] / p[:, 2:] * camera.Ks[0].diagonal()[:2] + camera.Ks[0, :2, 2]).long()
    truth = scene.views[0].depths[0][xy[:, 1].clamp(0, 119), xy[:, 0].clamp(0, 159)]
    assert len(points) > 100 and ((p[:, 2] / truth - 1).abs() < 0.05).float().mean() > 0.9
