"""Terms of edits: the fog guard by hand, guidance in random views, and its balance against the anchors."""

import math
from dataclasses import replace

import pytest
import torch

from gs_reg.fit import FitConfig, fit
from gs_reg.models.free import Free
from gs_reg.models.part_edit import PartEdit, PartEditConfig
from gs_reg.optim import OptimConfig
from gs_reg.render import render
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import Context, check_needs
from gs_reg.terms.fog import LargeScales, OpacityEntropy
from gs_reg.terms.guidance import EditCost, EditTerms, Guidance
from gs_reg.terms.photometric import L1, Ssim
from tests.parts.recoloured import recoloured

ONLY_L1 = EditTerms(entropy=OpacityEntropy(0), fog=LargeScales(0))


@pytest.fixture(scope="module")
def mug():
    return recoloured(count=500, size=32, views=8)


def context_of(model, views, step=0, steps=100):
    splats, shot = model(views), Shot(views)
    return Context(step, steps, model, splats, shot.draw(splats), shot)


def towards(color):
    """Stands for a diffusion model that wants one colour, with a gradient far larger than that of the anchors."""

    def sds(pictures, masks, progress, generator):
        noise = 0.1 * torch.randn(pictures.shape, generator=generator)
        error = (pictures - torch.tensor(color) + noise).square() * masks[..., None]
        return 5e3 * (2 - progress) * error.mean()

    return sds


def test_entropy_and_scales_by_hand(mug):
    model = PartEdit.from_splats(mug.splats, mug.chosen, PartEditConfig(shape=True))
    with torch.no_grad():
        model.opacity_logits.fill_(0.0)
    context = context_of(model, mug.photos[0])
    assert OpacityEntropy()(context).item() == pytest.approx(math.log(2), rel=1e-5)
    assert LargeScales()(context).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.opacity_logits.fill_(40.0)
        model.log_scales[:, 0] = (2.5 * model.scale_limit()).log()
        model.log_scales[::2, 0] -= 9
        model.log_scales[::2, 1] = (0.99 * model.scale_limit()).log()
    context = context_of(model, mug.photos[0])
    half = (len(model.log_scales) // 2) / len(model.log_scales)
    assert OpacityEntropy()(context).item() == pytest.approx(0, abs=2e-5)
    assert LargeScales()(context).item() == pytest.approx(1.5 * half, rel=1e-4)
    LargeScales()(context).backward()
    assert (model.log_scales.grad[1::2, 0] > 0).all() and not model.log_scales.grad[::2].any()


def test_they_need_a_model_with_a_part():
    with pytest.raises(ValueError, match="not available for Free"):
        check_needs(EditTerms(), Free, ("images",))
    check_needs(EditTerms(ssim=Ssim(0.2)), PartEdit, ("images", "masks"))


def test_half_of_the_draws_are_crops_that_the_part_fills(mug):
    guidance = Guidance(towards((0.0, 0.5, 0.0)), mug.cameras.resized(96, 64), size=48)
    model = PartEdit.from_splats(mug.splats, mug.chosen)
    filled, aspect = [], guidance.cameras.Ks[0, 0, 0] / guidance.cameras.Ks[0, 1, 1]
    for step in range(60):
        camera = guidance.camera(step, model())
        assert (camera.width, camera.height) == (48, 48)
        image = render(model(), camera, features=model().extra["edited"][:, None])
        rows, columns = (image.features[0, ..., 0] >= 0.5).nonzero().unbind(1)
        if len(rows) == 0:  # behind the mug
            continue
        filled.append(float(max(rows.max() - rows.min(), columns.max() - columns.min()) + 1) / 48)
        focal = camera.Ks[0, [0, 1], [0, 1]]
        torch.testing.assert_close(focal[0] / focal[1], aspect)  # nothing is stretched
    cropped = sum(share**2 >= 0.38 for share in filled)  # the part's outline, not its centres, by whole pixels
    assert len(filled) > 40 and 0.3 < cropped / len(filled) < 0.7 and max(filled) <= 1


def test_seed_and_step_alone_decide_a_draw(mug):
    model = PartEdit.from_splats(mug.splats, mug.chosen)
    guidance = Guidance(towards((0.0, 0.5, 0.0)), mug.cameras, size=32, seed=3)
    first, again, later = (guidance(context_of(model, mug.photos[0], step)) for step in (7, 7, 8))
    torch.manual_seed(99)
    assert torch.equal(first, again) and torch.equal(first, guidance(context_of(model, mug.photos[1], 7)))
    assert first != later
    assert first != replace(guidance, seed=4)(context_of(model, mug.photos[0], 7))


def test_the_mask_is_that_of_the_part(mug):
    model = PartEdit.from_splats(mug.splats, mug.chosen)
    guidance = Guidance(towards((0.0, 0.5, 0.0)), mug.cameras, size=32, crops=0.0)
    context = context_of(model, mug.photos[0])
    picture, mask = guidance.draw(context)
    index = next(i for i in range(8) if torch.equal(guidance.camera(0, model()).viewmats, mug.cameras[i].viewmats))
    assert (mask[0] ^ mug.photos.masks[index]).float().mean() < 0.03
    picture.sum().backward()
    assert model.dc.grad.any()


def test_anchors_weigh_three_times_as_much_as_guidance(mug):
    guidance = Guidance(lambda pictures, masks, *_: 70 * (pictures * masks[..., None]).sum(), mug.cameras[2], size=32)
    state = State.begin(PartEdit.from_splats(mug.splats, mug.chosen, neutral="grey"), OptimConfig())
    for _ in fit(state, lambda _: Shot(mug.photos[5]), EditCost(ONLY_L1, guidance), FitConfig(51)):
        pass
    context = context_of(state.model, mug.photos[5], step=51)
    picture, mask = guidance.draw(context)
    (guided,) = torch.autograd.grad(state.model.balance * guidance.value(context, picture, mask), picture)
    (anchored,) = torch.autograd.grad(L1()(context), context.image.colors)
    inside = [float((g * m[..., None]).norm()) for g, m in ((anchored, context.views.masks), (guided, mask))]
    assert 2.7 <= inside[0] / inside[1] <= 3.3


def test_the_balance_is_measured_again_and_smoothed(mug):
    model = PartEdit.from_splats(mug.splats, mug.chosen, neutral="grey")
    cost = EditCost(ONLY_L1, Guidance(towards((0.0, 0.5, 0.0)), mug.cameras, size=32))
    cost(context_of(model, mug.photos[0], 0, 1000))
    first = float(model.balance)
    cost(context_of(model, mug.photos[0], 49, 1000))
    assert float(model.balance) == first > 0
    model.balance.mul_(100)  # as if the 18 measurements so far had been so
    cost(context_of(model, mug.photos[0], 900, 1000))
    assert 40 < float(model.balance) / first < 80  # 100 to the power of 0.9
    far = replace(mug.photos[0], masks=torch.zeros_like(mug.photos[0].masks))
    before = float(model.balance)
    cost(context_of(model, far, 950, 1000))
    assert float(model.balance) == before  # no anchor to measure against


def test_guidance_alone_reaches_the_colour_and_resumes_to_the_same_bits(mug):
    terms = EditTerms(l1=L1(0), ssim=Ssim(0))
    cost = EditCost(terms, Guidance(towards((0.1, 0.6, 0.2)), mug.cameras, size=32))

    def run(state, steps, stop=None):
        for step in fit(state, lambda step: Shot(mug.photos[step % 8]), cost, FitConfig(steps)):
            if step.number == stop:
                return

    model = PartEdit.from_splats(mug.splats, mug.chosen, PartEditConfig(lr_color=0.1), neutral="grey")
    state = State.begin(model, OptimConfig())
    run(state, 60)
    colors = 0.5 + 0.2820948 * state.model.dc.detach()[:, 0]
    assert (colors.median(0).values - torch.tensor([0.1, 0.6, 0.2])).abs().max() < 0.1

    cost = EditCost(ONLY_L1, Guidance(towards((0.1, 0.6, 0.2)), mug.cameras, size=32), every=5)
    whole = State.begin(PartEdit.from_splats(mug.splats, mug.chosen, neutral="grey"), OptimConfig())
    run(whole, 12)
    first = State.begin(PartEdit.from_splats(mug.splats, mug.chosen, neutral="grey"), OptimConfig())
    run(first, 12, stop=6)
    saved = first.tensors()
    second = State.begin(PartEdit(mug.splats, saved["model"], PartEditConfig()), OptimConfig())
    second.load(saved, 7)
    run(second, 12)
    a, b = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a) and float(a["balance"]) > 0
