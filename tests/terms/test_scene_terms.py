"""Each term: its value by hand, its gradient, 0 at its optimum."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from gs_reg.terms import Context, evaluate
from gs_reg.terms.anchor import DepthAnchor
from gs_reg.terms.photometric import L1, Ssim
from gs_reg.terms.scene import SceneTerms
from gs_reg.terms.smoothness import DisparityTV
from gs_reg.types import Cameras, Render, Splats, Views


def context(colors, photo, *, depths=None, alphas=None, masks=None, step=0, steps=10, model=None):
    _, H, W, _ = photo.shape
    like = photo[..., :1]
    alphas = torch.ones_like(like) if alphas is None else alphas
    depths = torch.ones_like(like) if depths is None else depths
    cameras = Cameras(torch.eye(4).to(photo)[None], torch.eye(3).to(photo)[None], W, H)
    splats = Splats(
        *[torch.zeros(0, n).to(photo) for n in (3, 4, 3)], torch.zeros(0).to(photo), torch.zeros(0, 1, 3).to(photo)
    )
    image = Render(
        colors, alphas, depths * alphas, None, torch.zeros(1, 0, 2).to(photo), torch.zeros(1, 0, 2, dtype=torch.int32)
    )
    return Context(step, steps, model, splats, image, Views(cameras, photo, ("a",), masks))


def photo(height=12, width=10, seed=0):
    return torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_l1_by_hand_and_masked():
    a = photo()
    assert L1()(context(a, a)) == 0
    assert L1()(context(a + 0.25, a)) == pytest.approx(0.25)
    mask = torch.zeros(1, 12, 10, dtype=torch.bool)
    mask[0, :3] = True
    b = a.clone()
    b[0, 3:] += 100.0
    assert L1()(context(b, a, masks=mask)) == 0
    assert L1()(context(b, a, masks=~mask)) == pytest.approx(100.0)
    assert L1()(context(b, a, masks=torch.zeros_like(mask))) == 0


def test_ssim_is_zero_at_equality_and_falls_with_noise():
    a = photo(24, 24)
    assert Ssim()(context(a, a)).abs() < 1e-12
    near, far = Ssim()(context(a + 0.02, a)), Ssim()(context(photo(24, 24, seed=1), a))
    assert 0 < near < far < 2


@pytest.mark.parametrize("term", [L1(), Ssim()])
def test_photometric_gradients(term):
    colors = photo(seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: term(context(x, photo())), (colors,))


def test_tv_of_a_plane_in_disparity_by_hand():
    flat = photo() * 0
    ramp = torch.linspace(1, 2, 10, dtype=torch.float64).expand(1, 12, 10)[..., None]
    term = DisparityTV(weight=1.0)
    assert term(context(flat, flat, depths=1 / torch.full_like(ramp, 1.5))) == 0
    assert term(context(flat, flat, depths=1 / ramp)) == pytest.approx((1 / 9) / 1.5)
    # scaling the world changes nothing
    assert term(context(flat, flat, depths=100 / ramp)) == pytest.approx((1 / 9) / 1.5)


def test_tv_counts_a_pair_only_where_both_ends_are_drawn():
    flat = photo() * 0
    disparity = torch.ones(1, 12, 10, 1, dtype=torch.float64)
    disparity[:, :, 5:] = 3.0
    alphas = torch.ones_like(disparity)
    alphas[:, :, 4:6] = 0.0
    term = DisparityTV(weight=1.0)
    assert term(context(flat, flat, depths=1 / disparity, alphas=alphas)) == pytest.approx(0.0)
    assert term(context(flat, flat, depths=1 / disparity)) > 0.05


def test_tv_is_weak_across_colour_edges():
    colors = photo() * 0
    disparity = torch.ones(1, 12, 10, 1, dtype=torch.float64)
    disparity[:, :, 5:] = 3.0
    edge = colors.clone()
    edge[:, :, 5:] = 1.0
    term = DisparityTV(weight=1.0)
    without, across = (term(context(x, x, depths=1 / disparity)) for x in (colors, edge))
    assert across == pytest.approx(float(without) * math.exp(-1 / 0.1))


def test_tv_gradient():
    depths = (1 + photo()[..., :1]).requires_grad_()
    term = DisparityTV(weight=1.0)

    def value(d):
        # the mean disparity it is relative to is a constant of the step
        return term(context(photo(), photo(), depths=d))

    (gradient,) = torch.autograd.grad(value(depths), depths)
    step = torch.randn(depths.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean = (1 / depths).mean()
        moved = [value(depths + s * 1e-6 * step) * (1 / (depths + s * 1e-6 * step)).mean() / mean for s in (1, -1)]
    assert (gradient * step).sum() == pytest.approx(float(moved[0] - moved[1]) / 2e-6, rel=1e-5)


@dataclass(frozen=True)
class _Depths:
    now: torch.Tensor
    start: torch.Tensor
    spread: torch.Tensor

    def depths(self):
        return self.now


def test_anchor_by_hand():
    start = torch.tensor([1.0, 2.0], dtype=torch.float64)
    spread = torch.tensor([0.1, 0.5], dtype=torch.float64)
    at_start = context(photo(), photo(), model=_Depths(start, start, spread))
    assert DepthAnchor(weight=1.0)(at_start) == 0
    moved = _Depths(start * torch.tensor([math.exp(0.05), math.exp(1.0)]), start, spread)
    # Huber of 0.5 and 2: 0.125 and 1.5
    assert DepthAnchor(weight=1.0)(context(photo(), photo(), model=moved)) == pytest.approx((0.125 + 1.5) / 2)
    assert DepthAnchor(weight=1.0)(context(photo(), photo(), model=moved, step=9)) == 0


def test_total_is_the_weighted_sum_and_zero_weight_is_the_switch():
    a, b = photo(), photo(seed=1)
    terms = SceneTerms(l1=L1(2.0), ssim=Ssim(0.0), smooth=DisparityTV(0.0), anchor=DepthAnchor(0.0))
    values = evaluate(terms, context(a, b))
    assert set(values) == {"l1"} and values["l1"] == pytest.approx(2 * float((a - b).abs().mean()))
    doubled = evaluate(replace(terms, l1=L1(4.0)), context(a, b))
    assert doubled["l1"] == pytest.approx(2 * float(values["l1"]))
