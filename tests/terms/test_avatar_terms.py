"""Terms of head avatars: values by hand, zero at their optimum, schedules, gradients."""

import math
from dataclasses import replace

import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.shot import Shot
from gs_reg.terms import Context, check_needs, evaluate
from gs_reg.terms.avatar import (
    AvatarTerms,
    CodePrior,
    HeadInputs,
    LargeAxes,
    NearDistilled,
    Needles,
    OpenGates,
    Silhouette,
)
from tests.models.avatars import FRAMES, filmed, rig, stirred, toy_avatar, track


@pytest.fixture
def context():
    avatar = toy_avatar()
    film = filmed(2, track(), rig(24))
    shot = Shot(replace(film, cameras=avatar.cameras(film)))
    splats = avatar(film)
    return Context(0, 11, avatar, splats, shot.draw(splats), shot)


def with_splats(context, **columns):
    return replace(context, splats=replace(context.splats, **columns))


def test_silhouettes(context):
    alphas = context.views.alphas
    image = replace(context.image, alphas=(alphas * 0.5)[..., None])
    assert float(Silhouette()(replace(context, image=image))) == pytest.approx(float(alphas.mean()) / 2, rel=1e-5)
    exact = replace(context.image, alphas=alphas[..., None])
    assert float(Silhouette()(replace(context, image=exact))) == 0
    without = replace(context, shot=replace(context.shot, views=replace(context.views, alphas=None)))
    with pytest.raises(ValueError, match="expected views with alphas"):
        Silhouette()(without)
    with pytest.raises(InputError, match=r"--terms\.silhouette\.weight: .* alphas"):
        check_needs({"silhouette": Silhouette()}, type(context.model), ("images",))


def test_gates(context):
    with torch.no_grad():
        context.model.gate_logits.zero_()
        context.model.gate_logits[:, 0] = 100
    assert float(OpenGates()(context).detach()) == pytest.approx((1 + 5 * 0.5) / 6, rel=1e-5)
    context.model.config = replace(context.model.config, gates=False)
    assert float(OpenGates()(context)) == 0


def test_inputs_of_heads(context):
    assert float(HeadInputs()(context).detach()) == 0  # a fresh detail field says nothing
    inputs = torch.full((len(context.splats), 13), 0.5)
    inputs[:, 0] = -2
    changed = with_splats(context, extra={"head_inputs": inputs})
    assert float(HeadInputs()(changed)) == pytest.approx((4 + 12 * 0.25) / 13)
    assert float(HeadInputs()(with_splats(context, extra={}))) == 0


def test_the_coarse_field_stays_near_what_was_distilled(context):
    term, avatar = NearDistilled(samples=50), context.model
    avatar.gate_logits.data.fill_(100)  # the distilled field has all gates open
    start = with_splats(context, extra=avatar(context.views).extra)
    assert float(term(start).detach()) == pytest.approx(0, abs=1e-12)
    with torch.no_grad():
        avatar.coarse.out.bias += 0.1
    moved = with_splats(context, extra=avatar(context.views).extra)
    assert float(term(moved).detach()) == pytest.approx(0.03, rel=1e-4)
    assert float(term(replace(moved, step=10)).detach()) == pytest.approx(0.003, rel=1e-4)
    assert float(term(replace(moved, step=5)).detach()) == pytest.approx(0.03 * 0.55, rel=1e-4)
    term(moved).backward()
    assert avatar.coarse.out.bias.grad.abs().min() > 0.1 and not avatar.distilled.out.bias.requires_grad
    without = toy_avatar(coarse=False)
    empty = replace(context, model=without, splats=without(context.views))
    assert float(term(empty)) == 0


def test_a_change_of_latents_is_seen_as_a_change_of_motion(context):
    avatar = context.model
    with torch.no_grad():
        avatar.latent[:, 0] *= -1  # upper lips move like lower ones
    assert float(NearDistilled()(with_splats(context, extra=avatar(context.views).extra)).detach()) > 1e-5


def test_large_and_thin_gaussians(context):
    log_scales = torch.full((len(context.splats), 3), 0.01).log()
    log_scales[0] = torch.tensor([0.05, 0.03, 0.002]).log()
    changed = with_splats(context, log_scales=log_scales)
    count = len(log_scales)
    assert float(LargeAxes()(changed)) == pytest.approx(0.03**2 / count, rel=1e-4)
    assert float(Needles()(changed)) == pytest.approx((25 - 10) ** 2 / count, rel=1e-4)
    plain = with_splats(context, log_scales=torch.full((count, 3), 0.01).log())
    assert float(LargeAxes()(plain)) == 0 == float(Needles()(plain))
    thin = log_scales.clone()
    thin[1, 0] = -80
    assert math.isfinite(float(Needles()(with_splats(context, log_scales=thin))))


def test_corrections_of_codes(context):
    with torch.no_grad():
        context.model.code_corrections[2] = 0.1
        context.model.code_corrections[3] = 9.0
    value = CodePrior()(context)
    assert float(value.detach()) == pytest.approx(8 * 0.01, rel=1e-5)
    value.backward()
    assert not context.model.code_corrections.grad[torch.arange(FRAMES) != 2].any()


def test_the_laplacian_reads_all_that_the_fields_say(context):
    avatar = context.model
    stirred(avatar.detail)
    splats = avatar(context.views)
    names = {"latent", "offset", "d_rot", "d_scale", "d_opacity", "d_color"}
    assert names <= splats.extra.keys()
    term = AvatarTerms().laplacian
    whole = float(term(replace(context, splats=splats)).detach())
    parts = [term(replace(context, splats=replace(splats, extra={n: splats.extra[n]}))).detach() for n in names]
    assert whole == pytest.approx(float(sum(parts)), rel=1e-4) and all(float(part) > 0 for part in parts)
    flat = {name: torch.ones_like(splats.extra[name]) for name in names}
    assert float(term(replace(context, splats=replace(splats, extra=flat)))) == pytest.approx(0, abs=1e-9)


def test_all_terms_have_values_and_gradients(context):
    stirred(context.model.detail)
    splats = context.model(context.views)
    context = replace(context, splats=splats, image=context.shot.draw(splats))
    with torch.no_grad():
        context.model.code_corrections[2] = 0.1
    values = evaluate(AvatarTerms(), context)
    assert set(values) == {f for f in AvatarTerms.__dataclass_fields__}
    assert all(value.isfinite() and value >= 0 for value in values.values())
    sum(values.values()).backward()
    for name, parameter in context.model.named_parameters():
        if not name.startswith("distilled") and parameter.numel():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
