"""What a step looks at: a photo, or with masks that mean empty the object before a changing colour; how it is drawn."""

import pytest
import torch

from gs_reg.apps.scenes.flags import TrainConfig
from gs_reg.apps.scenes.presets import PRESETS
from gs_reg.apps.scenes.shots import Shots, mean_color
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Views


def view(color, mask=None):
    cameras = Cameras(torch.eye(4)[None], torch.eye(3)[None], 4, 2)
    return Views(cameras, torch.full((1, 2, 4, 3), color), ("a",), mask)


def test_photos_are_taken_as_they_are_over_their_mean_colour():
    shots = Shots([view(0.2), view(0.6)], "ignore", 3, TrainConfig(random_background=0.0), 0)
    assert {round(float(shots(n).views.images.mean()), 3) for n in range(2)} == {0.2, 0.6}
    assert torch.allclose(shots(5).background, torch.full((3,), 0.4))


@pytest.mark.parametrize("mode", ["none", "ignore"])
def test_photos_are_taken_as_they_are_over_a_colour_of_the_step(mode):
    """The step and the seed alone decide the colour, so that a resumed run draws it again."""
    shots, others = (Shots([view(0.2), view(0.6)], mode, seed, TrainConfig(), 0) for seed in (3, 4))
    colors = torch.stack([shots(n).background for n in range(200)])
    assert torch.equal(colors[77], shots(77).background) and not torch.equal(colors[77], others(77).background)
    assert len(colors.unique(dim=0)) == 200 and {float(shots(n).views.images.mean()) for n in range(2)} <= {
        float(view(color).images.mean()) for color in (0.2, 0.6)
    }
    # uniform in the cube: mean 1/2, variance 1/12, channels independent; 200 draws are within 5 of their deviations
    assert (colors.mean(0) - 0.5).abs().max() < 5 * (1 / 12 / 200) ** 0.5
    assert (torch.cov(colors.T) - torch.eye(3) / 12).abs().max() < 5 / 12 / 200**0.5


def test_a_share_of_the_steps_has_a_random_colour_behind():
    shots = Shots([view(0.2), view(0.6)], "none", 0, TrainConfig(random_background=0.25), 0)
    plain = [torch.allclose(shots(n).background, torch.full((3,), 0.4)) for n in range(400)]
    assert abs(sum(plain) - 300) < 5 * (400 * 0.25 * 0.75) ** 0.5


def test_masked_pixels_that_must_be_empty_have_a_random_colour_in_every_step():
    mask = torch.ones(1, 2, 4, dtype=torch.bool)
    shots = Shots([view(0.5, mask)], "transparent", 0, TrainConfig(random_background=0.0), 0)
    assert not any(torch.allclose(shots(n).background, torch.full((3,), 0.5)) for n in range(20))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_random_background_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="random_background"):
        TrainConfig(random_background=share)


def test_published_presets_keep_the_mean_colour():
    shares = {name: {p.train.random_background, p.free.train.random_background} for name, p in PRESETS.items()}
    assert 0.0 in shares.pop("paper") and 0.0 in shares.pop("paper-short")
    assert not any(0.0 in share for share in shares.values())


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
