"""Random splats lie in the pictures, between the bounds, and fill them."""

import torch

from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.geometry import project
from gs_reg.init.random import random_splats


def test_every_splat_is_in_a_picture_at_a_depth_in_its_bounds():
    cameras = [view.cameras.to(dtype=torch.float32) for view in box_and_sphere(Rig(width=40, height=30)).train]
    bounds = [(0.2, 0.5)] * len(cameras)
    splats = random_splats(cameras, bounds, 900, seed=3)
    seen = torch.zeros(900, dtype=torch.bool)
    for camera in cameras:
        xy, z = project(camera, splats.means)
        inside = ((xy[0] > 0) & (xy[0] < torch.tensor([40.0, 30.0]))).all(-1)
        seen |= inside & (1 / z[0] > 0.199) & (1 / z[0] < 0.501)
    assert seen.all()
    xy, z = project(cameras[0], splats.means)
    w = 1 / z[0][(xy[0] > 0).all(-1) & (xy[0] < torch.tensor([40.0, 30.0])).all(-1)]
    assert w.min() < 0.24 and w.max() > 0.46 and torch.isfinite(splats.log_scales).all()


def test_the_seed_decides():
    cameras = [view.cameras.to(dtype=torch.float32) for view in box_and_sphere(Rig(width=40, height=30)).train]
    a, b, c = (random_splats(cameras, [(0.2, 0.5)] * len(cameras), 50, seed).means for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
