"""Drawing at a multiple of the size and averaging down: T13."""

from dataclasses import replace

import pytest
import torch

from gs_reg.geometry import pixel_centers
from gs_reg.render import RenderConfig, pooled, render
from gs_reg.types import Render

from .scenes import random_scene


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_linear_image_is_unchanged(factor):
    def linear(width, height):
        xy = pixel_centers(width, height, torch.zeros(1)) / torch.tensor([width, height])
        plane = (0.3 * xy[..., :1] - 0.7 * xy[..., 1:] + 1)[None]
        return Render(
            plane.expand(-1, -1, -1, 3), plane, 2 * plane, 3 * plane, torch.zeros(1, 0, 2), torch.zeros(1, 0, 2).int()
        )

    fine, coarse = pooled(linear(12 * factor, 9 * factor), factor), linear(12, 9)
    for name in ("colors", "alphas", "depths", "features"):
        torch.testing.assert_close(getattr(fine, name), getattr(coarse, name))


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_it_is_the_mean_of_the_finer_picture(backend):
    splats, cameras = random_scene(40, 24, 16)
    config, white = RenderConfig(backend=backend), torch.ones(len(cameras), 3, dtype=torch.float64)
    finer = render(splats, cameras.resized(48, 32), config, backgrounds=white)
    got = render(splats, cameras, replace(config, supersample=2), backgrounds=white)
    blocks = finer.colors.reshape(len(cameras), 16, 2, 24, 2, 3).mean((2, 4))
    torch.testing.assert_close(got.colors, blocks)
    torch.testing.assert_close(got.depths, finer.depths.reshape(len(cameras), 16, 2, 24, 2, 1).mean((2, 4)))
    assert got.alphas.shape == (len(cameras), 16, 24, 1)


def test_depth_is_averaged_before_it_is_divided():
    """A pixel half covered at depth 3 has depth 3, not half of it."""
    ones = torch.zeros(1, 2, 2, 1)
    ones[:, :, 0] = 1.0
    half = pooled(
        Render(ones.expand(-1, -1, -1, 3), ones, 3 * ones, None, torch.zeros(1, 0, 2), torch.zeros(1, 0, 2).int()), 2
    )
    assert float(half.alphas) == 0.5 and float(half.expected_depths) == pytest.approx(3.0)
