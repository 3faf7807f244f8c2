"""The attention teacher on tiny random pipelines: path, calls, passes, views in words, settings."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion.capture import captured_words
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError
from gs_reg.parts.maps import part_maps
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.teachers.attention import WordAttention, middle_of
from gs_reg.parts.teachers.base import TeacherSetting
from gs_reg.parts.teachers.parse import make_teacher
from gs_reg.types import Cameras

from .scene import TwoParts

PROMPT = PartPrompt("a photo of a mug", ("pump head", "body"))


@pytest.fixture(params=["sd3", "sd3-t5", "sd35", "sd3-inpaint"])
def model(request, tiny) -> DiffusionModel:
    return small(DiffusionModel.load(tiny(request.param), device="cpu"))


def small(model: DiffusionModel) -> DiffusionModel:
    """Shown pictures of 32 px, which are 8 x 8 image tokens."""
    return DiffusionModel(model.pipe, "cpu", replace(model.settings, resolution=32))


@pytest.fixture
def sd3(tiny) -> DiffusionModel:
    return small(DiffusionModel.load(tiny("sd3"), device="cpu"))


def said(teacher, scene: TwoParts, views=slice(None), prompt=PROMPT):
    teacher.prepare(prompt)
    return teacher.maps(scene.pictures[views], scene.alphas[views], scene.cameras[views])


def test_maps_are_those_of_the_fourth_call_of_the_walk(model, scene: TwoParts):
    """The walk by hand, one view at a time."""
    made = said(WordAttention(model, seed=5), scene, slice(0, 2))
    assert model.calls_by_purpose["teacher"] == 2 * 4
    text = "a photo of a mug with pump head and body"
    words = model.tokens(text, {0: (22, 31), 1: (36, 40)}, 2)[0][None]
    for c in (0, 1):
        planes = scene.pictures[c : c + 1].movedim(-1, 1)
        shown = torch.nn.functional.interpolate(planes, (32, 32), mode="bilinear", antialias=True).movedim(1, -1)
        z0 = model.encode(shown.clamp(0, 1))
        noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(5))
        sigmas = [0.0577, 0.3567, 0.5530, 0.6918]
        z = (1 - sigmas[0]) * z0 + sigmas[0] * noise
        with captured_words(model.network, (0, 1), words) as capture:
            for i, sigma in enumerate(sigmas):
                v = model.predict(z, sigma, model.text([text]))
                if i < 3:
                    z = z + (0.5 * v + 0.5 * (noise - z) / (1 - sigma)) * (sigmas[i + 1] - sigma)
        expected = part_maps(capture.total.unflatten(-1, (8, 8)), torch.tensor([0.2, 0.2]), scene.pictures[c : c + 1])
        assert torch.allclose(made.maps[c], expected[0], atol=0.02) and expected.std() > 0.05


def test_views_do_not_depend_on_those_beside_them(sd3, scene: TwoParts):
    together = said(WordAttention(sd3, batch=4), scene)
    alone = said(WordAttention(sd3, batch=1), scene, slice(2, 3))
    assert torch.allclose(together.maps[2], alone.maps[0], atol=1e-3)
    other = said(WordAttention(sd3, seed=1, batch=1), scene, slice(2, 3))
    assert (other.maps - alone.maps).abs().max() > 0.01


def test_parts_beyond_the_text_limit_take_more_passes(sd3, scene: TwoParts):
    parts = ("pump head", "body", "handle", "rim", "headlights", "green rim", "red body", "red handle")
    made = said(WordAttention(sd3), scene, slice(0, 1), PartPrompt("a photo of a mug", parts))
    assert made.names == parts and sd3.calls % 4 == 0 and sd3.calls >= 8
    assert (made.maps.flatten(2).std(-1) > 0).all()


def test_pictures_keep_their_shape(sd3, scene: TwoParts):
    wide = scene.pictures[:1, 12:36]
    teacher = WordAttention(sd3)
    teacher.prepare(PROMPT)
    cameras = scene.cameras[:1].cropped(0, 12, 48, 24)
    made = teacher.maps(wide, scene.alphas[:1, 12:36], cameras)
    assert made.maps.shape == (1, 2, 24, 48)


def test_the_side_is_named_where_the_front_is_known(sd3, scene: TwoParts, monkeypatch):
    asked: list[str] = []
    text = sd3.text
    monkeypatch.setattr(sd3, "text", lambda prompts: asked.extend(prompts) or text(prompts))
    said(WordAttention(sd3), scene, prompt=PartPrompt("a mug", ("body",), front=(0, 0, 1)))
    assert asked == [f"a mug with body, {side} view" for side in ("front", "side", "back")]
    assert torch.allclose(middle_of(scene.cameras), torch.zeros(3), atol=1e-4)


def test_parallel_cameras_have_a_middle_too():
    view = torch.eye(4).expand(2, 4, 4)
    assert middle_of(Cameras(view, torch.eye(3).expand(2, 3, 3), 4, 4)).isfinite().all()


def test_settings_of_the_teacher_count(sd3, scene: TwoParts):
    one = DiffusionModel(sd3.pipe, "cpu", replace(sd3.settings, blocks=(1,), u_path=(0.3,), tau=0.5))
    teacher = WordAttention(one)
    made = said(teacher, scene, slice(0, 1))
    assert one.calls == 1 and teacher.notes == {"calls": 1, "blocks": [1]}
    sharp = replace(one.settings, taus={"body": 0.05})
    tight = said(WordAttention(DiffusionModel(sd3.pipe, "cpu", sharp)), scene, slice(0, 1))
    assert torch.equal(tight.maps[:, 0], made.maps[:, 0]) and tight.maps[:, 1].mean() < made.maps[:, 1].mean()
    with pytest.raises(InputError, match="blocks"):
        WordAttention(DiffusionModel(sd3.pipe, "cpu", replace(sd3.settings, blocks=(2,))))


def test_the_model_s_refinement_counts(sd3, scene: TwoParts):
    other = DiffusionModel(sd3.pipe, "cpu", replace(sd3.settings, refine=1 / 8))
    plain, wide = (make_teacher("sd3", TeacherSetting(model=lambda model=model: model)) for model in (sd3, other))
    assert (said(wide, scene, slice(0, 1)).maps - said(plain, scene, slice(0, 1)).maps).abs().max() > 0.01


def test_a_part_too_long_for_the_model_is_named_before_any_picture(sd3):
    with pytest.raises(InputError, match="longer than the 16 tokens"):
        WordAttention(sd3).prepare(PartPrompt("a photo of a mug", ("body " * 14,)))
