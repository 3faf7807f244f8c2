"""Which picture a network finds truest to words: by hand on a random network, and by the small teacher's own mind."""

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps.teacher.small import SMALL
from gs_reg.diffusion.judge import U_LEVELS, agreement
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.settings import read_settings


def test_the_agreement_is_that_of_the_velocities(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu")
    picture = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(32, 32, dtype=torch.bool)
    words, without = "a green handle", "a handle"
    z, gains = model.encode(picture[None]), []
    for number, u in enumerate(U_LEVELS):
        level = 3 * u / (1 + 2 * u)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(5 + number))
        noisy = (1 - level) * z + level * noise
        wrong, right = (model.predict(noisy, level, model.text([text])) - (noise - z) for text in (without, words))
        gains.append(float(wrong.square().mean() - right.square().mean()))
    before = model.calls
    assert agreement(model, picture, mask, words, without, seed=5) == pytest.approx(sum(gains) / 3, abs=1e-5)
    assert model.calls - before == 6 == model.calls_by_purpose["judge"]
    assert agreement(model, picture, mask, words, words) == 0
    other = agreement(model, picture, ~mask, words, without)
    assert other == 0  # nothing is in the mask


def test_the_small_teacher_knows_a_colour_when_it_sees_it():
    from gs_reg.data_tools.synthetic.objects.cameras import orbit
    from gs_reg.data_tools.synthetic.objects.colors import NAMES, Paint
    from gs_reg.data_tools.synthetic.objects.families import make_object
    from gs_reg.data_tools.synthetic.objects.gaussians import photos_of

    model = DiffusionModel.load(SMALL, device="cpu")
    item, camera = make_object("mug", 3), orbit(1, model.resolution)
    row = item.parts.index("body")
    liked = {}
    for color in ("red", "blue"):
        look = Paint(tuple(NAMES.index(c) for c in ("white", "yellow", "teal")), (0, 0, 0))
        views, parts = photos_of(item, look.changed(row, NAMES.index(color)), camera, background=0.5)
        mask = torch.from_numpy(parts[0]) == row + 1
        liked[color] = agreement(model, views.photos[0], mask, "a photo of a red body", "a photo of a body")
    assert liked["red"] > 0 > liked["blue"]


def test_the_small_teacher_says_that_it_knows_no_words_of_bad_quality():
    settings = read_settings(SMALL)
    assert settings is not None and settings.negative == ""
