"""SLaMP against its listing, on random networks: what is kept, what is counted, what is repeated."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion import pasting
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.reference import attending_to_the_first, has_joint_attention
from gs_reg.diffusion.slamp import SlampConfig, invert, regenerate, slamp

PROMPT = "a mug with green handle"
SHORT = SlampConfig(steps=4)


@pytest.fixture(scope="module")
def models(tiny) -> dict[str, DiffusionModel]:
    return {name: DiffusionModel.load(tiny(name), device="cpu") for name in ("sd3", "sd35", "sd15", "sd15-v", "flux")}


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(1))


def box(side: int = 32) -> torch.Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[side // 4 : side // 2, side // 4 : side // 2] = True
    return mask


@pytest.mark.parametrize("mode", ["renoised", "clean"])
def test_it_is_the_listing_in_velocities(models, picture, mode):
    model, config = models["sd3"], replace(SHORT, steps=8, mode=mode)
    z0, mask = model.encode(picture[None]), pasting.touched(box(), 2)
    noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(3))
    sigmas = [3 * (k / 8) / (1 + 2 * (k / 8)) for k in range(9)]
    text, null, z = model.text([PROMPT]), model.text([""]), z0
    for k in range(8):
        v = 0.5 * model.predict(z, sigmas[k], null) + 0.5 * (noise - z) / (1 - sigmas[k])
        z = z + (sigmas[k + 1] - sigmas[k]) * v
    for i in range(8):
        now, after = sigmas[8 - i], sigmas[7 - i]
        v = model.guided(z, now, text, null, 6.0)
        if i < 2:  # the first quarter
            v = v + 0.9 * (1 - mask) * ((z - z0) / now - v)
        z = z + (after - now) * v
        m = (1.0 if i >= 8 - 3 else 0.15) * (1 - mask)  # round(0.35 * 8) = 3 last steps
        z = (1 - m) * z + m * (z0 if mode == "clean" else (1 - after) * z0 + after * noise)
    ours = regenerate(model, z0, mask, PROMPT, config, seed=3)
    assert torch.allclose(ours, z, atol=2e-4 * float(z.abs().max()))


@pytest.mark.parametrize("name", ["sd3", "sd35", "sd15", "sd15-v", "flux"])
def test_pixels_away_from_the_mask_are_the_source_s(models, picture, name):
    out = slamp(models[name], picture, box(), PROMPT, SHORT, seed=0)
    away = ~(torch.nn.functional.max_pool2d(box()[None].float(), 3, 1, 1)[0] > 0)
    assert out.shape == picture.shape and torch.equal(out[away], picture[away])
    assert float((out - picture)[box()].abs().mean()) > 0.05


@pytest.mark.parametrize("name", ["sd3", "sd15"])
@pytest.mark.parametrize("mode", ["renoised", "clean"])
def test_an_empty_mask_gives_the_source(models, picture, name, mode):
    model, config = models[name], replace(SHORT, mode=mode)
    empty = torch.zeros(32, 32, dtype=torch.bool)
    assert torch.equal(slamp(model, picture, empty, PROMPT, config, seed=0), picture)
    z0 = model.encode(picture[None])
    assert torch.allclose(regenerate(model, z0, torch.zeros(1, 1, 16, 16), PROMPT, config, seed=0), z0, atol=1e-5)


@pytest.mark.parametrize("name", ["sd3", "sd15", "sd15-v"])
def test_a_full_pull_everywhere_gives_the_source_latents(models, picture, name):
    config = replace(SHORT, eta=1.0, eta_inside=1.0, eta_share=1.0)
    z0 = models[name].encode(picture[None])
    z = regenerate(models[name], z0, torch.ones(1, 1, 16, 16), PROMPT, config, seed=0)
    assert torch.allclose(z, z0, atol=1e-4)


@pytest.mark.parametrize("name", ["sd3", "sd15", "sd15-v"])
def test_a_full_pull_of_the_inversion_ends_at_the_noise(models, picture, name):
    model = models[name]
    noise = torch.randn(1, model.channels, 16, 16)
    levels = [model.sigma(k / 6) for k in range(7)]
    z = invert(model, model.encode(picture[None]), noise, levels, gamma=1.0)
    kept, share = model.shares(torch.ones(1))
    assert torch.allclose(z, kept * model.encode(picture[None]) + share * noise, atol=1e-4)


def test_the_last_steps_are_counted(models, picture, monkeypatch):
    """Outside the mask the network has no say after the last ones."""
    z0, mask, N = models["sd3"].encode(picture[None]), pasting.touched(box(), 2), 20
    for faithful, kept in ((0.35, 7), (0.0, 0), (1.0, 20)):
        config = SlampConfig(steps=N, faithful=faithful, alpha_base=0.0, eta=0.0)
        outside = []
        model = models["sd3"]
        predict = model.predict

        def seen(z, level, text, predict=predict, outside=outside):
            outside.append((float(torch.as_tensor(level).flatten()[0]), z[-1]))
            return predict(z, level, text)

        monkeypatch.setattr(model, "predict", seen)
        outside.append((0.0, regenerate(model, z0, mask, PROMPT, config, seed=0)[0]))
        monkeypatch.undo()
        noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(0))
        after = outside[-N:]  # what each step of the generation left
        same = [torch.allclose(z * (1 - mask), ((1 - s) * z0 + s * noise)[0] * (1 - mask), atol=1e-5) for s, z in after]
        assert sum(same) == kept and all(same[N - kept :])


def test_calls_and_steps_follow_the_start(models, picture):
    model, config = models["sd3"], SlampConfig(steps=10)
    model.calls_by_purpose.clear()
    slamp(model, picture, box(), PROMPT, config, seed=0)
    assert dict(model.calls_by_purpose) == {"slamp": 10 + 20}
    model.calls_by_purpose.clear()
    slamp(model, picture, box(), PROMPT, config, seed=0, start=0.6)
    assert dict(model.calls_by_purpose) == {"slamp": 6 + 12}
    slamp(model, picture, box(), PROMPT, config, seed=0, reference=picture)
    assert model.calls == 18 + 10 + 30


def test_a_later_start_stays_nearer_to_the_source(models, picture):
    model, config = models["sd3"], SlampConfig(steps=10, guidance=1.0)
    z0, mask = model.encode(picture[None]), pasting.touched(box(), 2)
    far, near = (regenerate(model, z0, mask, PROMPT, config, 0, start=s) - z0 for s in (1.0, 0.2))
    assert 0 < float((near * mask).norm()) < 0.5 * float((far * mask).norm())


def test_a_seed_is_a_result(models, picture):
    first, again, other = (slamp(models["sd3"], picture, box(), PROMPT, SHORT, seed=s) for s in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    prompted = slamp(models["sd3"], picture, box(), "a red mug", SHORT, seed=5)
    negative = slamp(models["sd3"], picture, box(), PROMPT, SHORT, seed=5, negative="photo of headlights")
    assert not torch.equal(first, prompted) and not torch.equal(first, negative)


def test_sides_that_are_no_multiples_are_padded(models):
    picture = torch.rand(31, 26, 3)
    mask = torch.zeros(31, 26, dtype=torch.bool)
    mask[20:, 20:] = True
    out = slamp(models["sd3"], picture, mask, PROMPT, SHORT, seed=0)
    assert out.shape == picture.shape and torch.equal(out[:18], picture[:18]) and out.isfinite().all()


@pytest.mark.parametrize("name", ["sd3", "sd35"])
def test_a_reference_is_attended_to_and_then_forgotten(models, picture, name):
    model = models[name]
    plain = slamp(model, picture, box(), PROMPT, SHORT, seed=0)
    with_it = slamp(model, picture, box(), PROMPT, SHORT, seed=0, reference=1 - picture)
    other = slamp(model, picture, box(), PROMPT, SHORT, seed=0, reference=torch.rand(40, 32, 3).clamp(0, 1)[:32])
    off = slamp(model, picture, box(), PROMPT, replace(SHORT, ref_attn=False), seed=0, reference=1 - picture)
    assert torch.equal(plain, off) and not torch.equal(plain, with_it) and not torch.equal(with_it, other)
    assert torch.equal(plain, slamp(model, picture, box(), PROMPT, SHORT, seed=0))


@pytest.mark.parametrize("name", ["sd3", "sd35"])
def test_the_reference_itself_is_predicted_as_alone(models, name):
    model = models[name]
    z, text = torch.randn(3, 16, 16, 16), model.text([PROMPT, "", PROMPT])
    alone = model.predict(z, 0.5, text)
    with attending_to_the_first(model.network):
        together = model.predict(z, 0.5, text)
    assert torch.allclose(together[0], alone[0], atol=1e-5) and not torch.allclose(together[1], alone[1], atol=1e-3)
    assert torch.equal(model.predict(z, 0.5, text), alone)


def test_attention_to_a_reference_is_that_over_both_pictures(models):
    """One block by hand: image tokens over their own picture, the text and the first picture; words without it."""
    from gs_reg.diffusion.reference import FirstAsReference

    attn = models["sd35"].network.transformer_blocks[0].attn
    x, text = torch.randn(2, 9, 16), torch.randn(2, 5, 16)
    image, words = FirstAsReference()(attn, x, text)

    def heads(rows: torch.Tensor, norm) -> torch.Tensor:
        return norm(rows.unflatten(-1, (attn.heads, -1))).transpose(1, 2)

    q, k, v = heads(attn.to_q(x), attn.norm_q), heads(attn.to_k(x), attn.norm_k), attn.to_v(x).unflatten(-1, (2, 8))
    wk, wv = (
        heads(attn.add_k_proj(text), attn.norm_added_k),
        attn.add_v_proj(text).unflatten(-1, (2, 8)).transpose(1, 2),
    )
    v = v.transpose(1, 2)
    keys, values = torch.cat([k[1], wk[1], k[0]], 1), torch.cat([v[1], wv[1], v[0]], 1)
    expected = ((q[1] @ keys.mT / 8**0.5).softmax(-1) @ values).transpose(0, 1).flatten(1)
    assert torch.allclose(image[1], attn.to_out[0](expected), atol=1e-5)
    assert torch.allclose(words, attn.processor(attn, x, text)[1], atol=1e-5)


def test_only_sd3_s_attention_takes_a_reference(models, picture):
    assert has_joint_attention(models["sd35"].network) and not has_joint_attention(models["sd15"].network)
    plain = slamp(models["flux"], picture, box(), PROMPT, SHORT, seed=0)
    assert torch.equal(plain, slamp(models["flux"], picture, box(), PROMPT, SHORT, seed=0, reference=1 - picture))


def test_the_paste_is_a_ramp_at_the_outer_edge():
    mask = torch.zeros(512, 512, dtype=torch.bool)
    mask[200:300, 200:300] = True
    weight = pasting.paste(torch.ones(512, 512, 3), torch.zeros(512, 512, 3), mask)[..., 0]
    assert [round(float(weight[250, 299 + d]), 4) for d in range(10)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    hard = pasting.paste(torch.ones(512, 512, 3), torch.zeros(512, 512, 3), mask, margin=8, feather=0)[..., 0]
    assert [float(hard[250, 299 + d]) for d in (7, 8)] == [1, 0]
    small = pasting.paste(torch.ones(128, 128, 3), torch.zeros(128, 128, 3), mask[::4, ::4])[..., 0]
    assert [float(small[62, 74 + d]) for d in range(4)] == [1, 1, 0, 0]
