"""Score distillation against its formulas, on random networks, and its gradient through the VAE."""

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.pasting import mostly
from gs_reg.diffusion.sds import SdsConfig, reversed_noise, sds_loss
from gs_reg.errors import InputError

CONFIG = SdsConfig(guidance=10.0, rescale=0.0)


@pytest.fixture(scope="module")
def models(tiny) -> dict[str, DiffusionModel]:
    return {name: DiffusionModel.load(tiny(name), device="cpu") for name in ("sd3", "sd15", "sd15-v", "flux")}


def texts(model: DiffusionModel):
    return model.text(["a red mug"]), model.text(["photo of headlights"])


def box(count: int = 2) -> torch.Tensor:
    mask = torch.zeros(count, 32, 32, dtype=torch.bool)
    mask[0, 8:20, 8:16] = True
    return mask


def gradient(model: DiffusionModel, pictures: torch.Tensor, masks: torch.Tensor, config=CONFIG, seed=0, **more):
    pictures = pictures.clone().requires_grad_(True)
    latents = []
    encode = model.encode

    def kept(p):
        latents.append(encode(p))
        latents[0].retain_grad()
        return latents[0]

    model.encode = kept
    try:
        generator = torch.Generator().manual_seed(seed)
        loss = sds_loss(model, pictures, masks, *texts(model), config, generator=generator, **more)
        loss.backward()
    finally:
        del model.encode
    return loss.detach(), latents[0].detach(), latents[0].grad, pictures.grad


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_the_reversed_noise_is_the_paper_s(models, name):
    model = models[name]
    z, noise = torch.randn(2, 2, 16, 16, 16)
    levels = torch.tensor([0.3, 0.8])
    s = levels[:, None, None, None]
    v = model.predict((1 - s) * z + s * noise, levels, texts(model)[1])
    ours = reversed_noise(model, z, noise, levels, texts(model)[1])
    assert torch.allclose(ours, noise + (1 - s) * (v + z - noise), atol=1e-5)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_the_gradient_is_the_formula(models, name):
    model, pictures, masks = models[name], torch.rand(2, 32, 32, 3), box()
    loss, z, grad, _ = gradient(model, pictures, masks, progress=0.5)
    generator = torch.Generator().manual_seed(0)
    u = 0.02 + (0.49 - 0.02) * torch.rand(2, generator=generator)  # half-way from 0.70 to 0.28
    noise = torch.randn(z.shape, generator=generator)
    levels = torch.tensor([model.sigma(float(x), (16, 16)) for x in u])
    s, (text, null) = levels[:, None, None, None], texts(model)
    noise = noise + (1 - s) * (model.predict((1 - s) * z + s * noise, levels, null) + z - noise)
    noisy = (1 - s) * z + s * noise
    without = model.predict(noisy, levels, null)
    v = without + 10 * (model.predict(noisy, levels, text) - without)
    mask = mostly(masks, 2).expand_as(z)
    expected = 2 * (v + z - noise) * mask / mask.sum() / 2
    assert torch.allclose(grad, expected, atol=1e-4 * float(expected.abs().max()))
    assert float(loss) == pytest.approx(float((((noise - z) - v).square() * mask).sum() / mask.sum() / 2), rel=1e-3)
    assert not grad[mask == 0].any() and grad[mask > 0].all()


@pytest.mark.parametrize("name", ["sd15", "sd15-v"])
def test_the_gradient_of_other_models_is_that_of_plain_sds(models, name):
    model, pictures, masks = models[name], torch.rand(2, 32, 32, 3), box()
    _, z, grad, _ = gradient(model, pictures, masks)
    generator = torch.Generator().manual_seed(0)
    levels = 0.02 + (0.70 - 0.02) * torch.rand(2, generator=generator)
    noise = torch.randn(z.shape, generator=generator)
    t = (1000 * levels).round().long() - 1
    kept = model.pipe.scheduler.alphas_cumprod[t][:, None, None, None]
    noisy = model.pipe.scheduler.add_noise(z, noise, t)
    text, null = texts(model)
    guided = model.guided(noisy, levels, text, null, 10.0)
    predicted = kept.sqrt() * guided + (1 - kept).sqrt() * noisy if name == "sd15-v" else guided
    mask = mostly(masks, 2).expand_as(z)
    expected = 2 * (1 - kept) * (predicted - noise) * mask / mask.sum() / 2
    assert torch.allclose(grad, expected, atol=1e-4 * float(expected.abs().max()))


def test_the_gradient_goes_through_the_encoder(models):
    """Against finite differences in double precision: of the loss whose target is fixed at these pictures."""
    model = DiffusionModel(models["sd3"].pipe, "cpu")
    model.pipe.vae.double()
    try:
        pictures, masks = 0.1 + 0.8 * torch.rand(1, 32, 32, 3, dtype=torch.float64), box(1)
        _, z, grad, by_pixel = gradient(model, pictures, masks)
        direction = torch.randn(pictures.shape, dtype=torch.float64)
        up, down = (model.encode(pictures + e * direction) for e in (1e-6, -1e-6))
        assert float((by_pixel * direction).sum()) == pytest.approx(float((grad * (up - down)).sum() / 2e-6), rel=1e-5)
        assert z.dtype == torch.float64 and by_pixel.abs().sum() > 0
    finally:
        model.pipe.vae.float()


def test_pixels_beyond_0_and_1_are_clamped_and_an_empty_mask_is_no_loss(models):
    model = models["sd3"]
    *_, grad = gradient(model, torch.full((1, 32, 32, 3), 1.5), box(1))
    assert grad is not None and not grad.any()
    loss, _, latents, _ = gradient(model, torch.rand(1, 32, 32, 3), torch.zeros(1, 32, 32, dtype=torch.bool))
    assert float(loss) == 0 and latents is not None and not latents.any()


def test_noise_is_drawn_within_the_range_and_falls(models, monkeypatch):
    model, seen = models["sd3"], []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda z, s, t: (seen.append(s.clone()), predict(z, s, t))[1])
    for progress, high in ((0.0, 0.70), (1.0, 0.28)):
        seen.clear()
        for seed in range(20):
            gradient(model, torch.rand(2, 32, 32, 3), box(), seed=seed, progress=progress)
        drawn = torch.cat(seen)
        assert model.sigma(0.02) <= float(drawn.min()) and model.sigma(0.6 * high) < float(drawn.max()) <= model.sigma(
            high
        )


def test_a_step_is_three_calls_for_flow_models_and_two_for_others(models):
    for name, calls in (("sd3", 3), ("sd15", 2)):
        models[name].calls_by_purpose.clear()
        gradient(models[name], torch.rand(2, 32, 32, 3), box())
        assert dict(models[name].calls_by_purpose) == {"sds": 2 * calls}


def test_one_seed_is_one_loss(models):
    pictures = torch.rand(2, 32, 32, 3)
    first, again, other = (gradient(models["sd3"], pictures, box(), seed=s)[0] for s in (0, 0, 1))
    assert first == again and first != other


def test_strong_guidance_in_bfloat16_is_refused(tiny):
    model = DiffusionModel.load(tiny("sd3"), device="cpu", dtype=torch.bfloat16)
    with pytest.raises(InputError, match="float16"):
        gradient(model, torch.rand(1, 32, 32, 3), box(1), config=SdsConfig(guidance=100))
