"""The share of a picture that needles draw, by hand."""

import math

import pytest
import torch

from gs_reg.apps.scenes.needles import LONG, THIN, ellipse_axes, needle_share
from gs_reg.render import project, render
from gs_reg.types import Cameras, Splats

DEPTH, FOCAL, BLUR = 4.0, 200.0, 0.3
"""A splat of size s shows as s FOCAL / DEPTH pixels; BLUR is the variance that the rasterizer adds."""
K = torch.tensor([[FOCAL, 0, 100.0], [0, FOCAL, 100.0], [0, 0, 1]], dtype=torch.float64)
CAMERA = Cameras(torch.eye(4, dtype=torch.float64)[None], K[None], 200, 200)


def splats(*pixels, angle=0.3, opacity=0.5):
    """Splats that face the camera one behind the other, of (long, short) pixels, turned by the angle."""
    sizes = torch.tensor(pixels, dtype=torch.float64) * DEPTH / FOCAL
    count = len(sizes)
    return Splats(
        torch.tensor([0, 0, DEPTH], dtype=torch.float64).repeat(count, 1),
        torch.tensor([math.cos(angle / 2), 0, 0, math.sin(angle / 2)], dtype=torch.float64).repeat(count, 1),
        torch.cat([sizes, sizes[:, 1:]], 1).log(),
        torch.full((count,), opacity, dtype=torch.float64).logit(),
        torch.zeros(count, 1, 3, dtype=torch.float64),
    )


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2])
def test_axes_of_a_splat_that_faces_the_camera(angle):
    long, short = ellipse_axes(project(splats((20, 1), (3, 3), angle=angle), CAMERA))
    torch.testing.assert_close(long[0], torch.tensor([400 + BLUR, 9 + BLUR]).double().sqrt(), rtol=1e-6, atol=0)
    torch.testing.assert_close(short[0], torch.tensor([1 + BLUR, 9 + BLUR]).double().sqrt(), rtol=1e-6, atol=0)


def test_a_splat_behind_the_camera_has_no_axes():
    behind = splats((20, 1))
    behind.means[:, 2] = -DEPTH
    long, short = ellipse_axes(project(behind, CAMERA))
    assert not long.any() and not short.any() and needle_share(behind, CAMERA) == 0


@pytest.mark.parametrize(
    ("shape", "share"),
    [((16, 1), 1.0), ((LONG - 0.1, 0.5), 0.0), ((LONG + 0.1, 1), 1.0), ((24, 24 / THIN + 0.1), 0.0), ((3, 3), 0.0)],
)
def test_both_the_length_and_the_shape_decide(shape, share):
    assert needle_share(splats(shape), CAMERA) == share


def test_weighted_by_what_they_draw():
    """In front a disc, behind it a needle of the same opacity: seen through 1 - alpha, over a smaller area."""
    needle, disc = splats((16, 1)), splats((10, 10))
    disc.means[:, 2] -= 0.01
    both = Splats.joined([disc, needle])
    # the weight of a splat alone is opacity times 2 pi times the product of its axes, of the needle 1/2 * 2 pi 16 * 1;
    # behind the disc alpha the needle keeps 1 - 1/2 in the middle, and more at its ends
    share = needle_share(both, CAMERA)
    alone = [opacity_sum(one) for one in (disc, needle)]
    assert alone[0] == pytest.approx(math.pi * (100 + BLUR) * (DEPTH / 3.99) ** 2, rel=0.05)
    assert alone[1] == pytest.approx(math.pi * math.sqrt((256 + BLUR) * (1 + BLUR)), rel=0.05)
    assert alone[1] / 2 / sum(alone) < share < alone[1] / sum(alone)


def opacity_sum(one):
    return float(render(one, CAMERA).alphas.sum())
