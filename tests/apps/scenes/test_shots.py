"""What a step looks at: a photo, or with masks that mean empty the object before a changing colour; how it is drawn."""

import pytest
import torch

from gs_reg.apps.scenes.flags import TrainConfig
from gs_reg.apps.scenes.shots import Shots, mean_color
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Views


def view(color, mask=None):
    cameras = Cameras(torch.eye(4)[None], torch.eye(3)[None], 4, 2)
    return Views(cameras, torch.full((1, 2, 4, 3), color), ("a",), mask)


def test_photos_are_taken_as_they_are_over_their_mean_colour():
    shots = Shots([view(0.2), view(0.6)], "ignore", 3, TrainConfig(), 0)
    assert {round(float(shots(n).views.images.mean()), 3) for n in range(2)} == {0.2, 0.6}
    assert torch.allclose(shots(5).background, torch.full((3,), 0.4))


def test_empty_pixels_show_the_background_of_the_step():
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[..., :2] = True
    shots = Shots([view(0.5, mask)], "transparent", 0, TrainConfig(), 0)
    backgrounds = set()
    for n in range(3):
        shot = shots(n)
        images, background = shot.views.images, shot.background
        assert shot.views.masks is None and torch.equal(images[0, :, 2:], background.expand(2, 2, 3))
        assert (images[0, :, :2] == 0.5).all() and torch.equal(shots(n).views.images, images)
        backgrounds.add(tuple(background.tolist()))
    assert len(backgrounds) == 3


def test_mean_colour_is_of_pixels_that_count():
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[0, 0, 0] = True
    masked = view(0.1, mask)
    masked.images[0, 0, 0] = 0.9
    assert torch.allclose(mean_color([masked, view(0.5)]), torch.full((3,), 0.7))


def drawings(train, degree, steps):
    shots = Shots([view(0.2)], "ignore", 0, train, degree)
    return [shots(n).render for n in steps]


def test_a_step_alone_decides_how_it_is_drawn():
    train = TrainConfig(steps=100, multisample=4, multisample_from=0.4, sh_from=(0.5, 0.75))
    factors = [drawing.supersample for drawing in drawings(train, 3, range(100))]
    assert set(factors[:40]) == {1} and set(factors[40:]) == {1, 2, 3, 4}
    assert factors == [drawing.supersample for drawing in drawings(train, 3, range(100))]
    assert [drawing.sh_degree for drawing in drawings(train, 3, (0, 49, 50, 74, 75))] == [0, 0, 1, 1, 3]
    assert drawings(train, 1, [99])[0].sh_degree == 1
    plain = TrainConfig(steps=100, render=RenderConfig(sh_degree=1, supersample=2))
    assert drawings(plain, 3, [99]) == [plain.render]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_dropout_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="dropout"):
        TrainConfig(dropout=share)
