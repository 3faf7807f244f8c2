"""Each term: its value by hand, its gradient, 0 at its optimum."""

import math
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from gs_reg.shot import Shot
from gs_reg.terms import Context, evaluate
from gs_reg.terms.anchor import DepthAnchor
from gs_reg.terms.correspondence import FlowConsistency
from gs_reg.terms.photometric import L1, MultiLevelL1, Ssim
from gs_reg.terms.scene import SceneTerms
from gs_reg.terms.smoothness import DisparityTV, LayeredTV
from gs_reg.types import Cameras, Render, Splats, Views


def context(colors, photo, *, depths=None, alphas=None, masks=None, step=0, steps=10, model=None, layers=None):
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
    views = Views(cameras, photo, ("a",), masks, layers=layers)
    return Context(step, steps, model, splats, image, Shot(views))


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


def slow_pyramid(a, b, mask, levels):
    """Cell by cell; a cell that sticks out or is partly masked is the mean of what it has."""
    difference, covered = (a - b).numpy()[0] * mask[..., None], mask.astype(float)
    total, share = 0.0, 1.0
    for level in range(levels):
        total += share * np.abs(difference).sum() / (3 * covered.sum())
        share = 0.25 if level == 0 else share / 2
        H, W = covered.shape
        cells = [(y, x) for y in range(0, H, 2) for x in range(0, W, 2)]
        shape = (-(-H // 2), -(-W // 2))
        difference = np.stack([difference[y : y + 2, x : x + 2].mean((0, 1)) for y, x in cells]).reshape(*shape, 3)
        covered = np.stack([covered[y : y + 2, x : x + 2].mean() for y, x in cells]).reshape(shape)
    return total


@pytest.mark.parametrize("masked", [False, True])
def test_pyramid_against_a_slow_one(masked):
    a, b = photo(21, 18), photo(21, 18, seed=1)
    mask = np.random.default_rng(0).random((21, 18)) > 0.4 if masked else np.ones((21, 18), bool)
    seen = context(a, b, masks=torch.from_numpy(mask)[None] if masked else None)
    assert MultiLevelL1()(seen) == pytest.approx(slow_pyramid(a, b, mask, 5), abs=1e-9)
    assert MultiLevelL1(levels=1)(seen) == pytest.approx(float(L1()(seen)))
    assert MultiLevelL1()(context(a, a)) == 0


def test_pyramid_of_a_constant_error_is_the_sum_of_its_weights():
    a = photo(64, 64)
    assert MultiLevelL1()(context(a + 0.1, a)) == pytest.approx(0.1 * (1 + 1 / 4 + 1 / 8 + 1 / 16 + 1 / 32))
    assert MultiLevelL1()(context(a[:, :1] + 0.1, a[:, :1])) == pytest.approx(0.1)


def test_pyramid_gradient():
    colors = photo(9, 7, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: MultiLevelL1()(context(x, photo(9, 7))), (colors,))


def two_layers():
    """Disparities 1 and 3, and their layers."""
    disparity = torch.ones(1, 12, 10, 1, dtype=torch.float64)
    disparity[:, :, 5:] = 3.0
    return disparity, (disparity[..., 0] > 2).to(torch.uint8)


def test_layered_tv_is_zero_for_constant_layers_with_a_jump_between():
    flat = photo() * 0
    disparity, layers = two_layers()
    at_the_end = context(flat, flat, depths=1 / disparity, layers=layers, step=9)
    assert LayeredTV(weight=1.0)(at_the_end) == 0
    # at the first step all pairs count: one of nine per row jumps by 2, mean disparity 2
    at_first = context(flat, flat, depths=1 / disparity, layers=layers)
    assert LayeredTV(weight=1.0)(at_first) == pytest.approx(1 / 9)
    assert LayeredTV(weight=1.0, start=1.0)(at_first) == 0
    assert LayeredTV(weight=1.0, start=0.25)(at_first) == pytest.approx(0.75 / 9)


def test_layered_tv_against_a_slow_one():
    flat = photo() * 0
    disparity = 1 + photo()[..., :1]
    layers = torch.randint(3, (1, 12, 10), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    alphas = (photo(seed=5)[..., :1] > 0.2).double()
    seen = context(flat, flat, depths=1 / disparity, alphas=alphas, layers=layers, step=3)
    q, drawn, layer, g = disparity[0, ..., 0].numpy(), alphas[0, ..., 0].numpy() > 0, layers[0].numpy(), 3 / 9
    expected = 0.0
    for dy, dx in ((0, 1), (1, 0)):
        kept = {True: [], False: []}
        for y in range(12 - dy):
            for x in range(10 - dx):
                p, r = (y, x), (y + dy, x + dx)
                if drawn[p] and drawn[r]:
                    kept[False].append(abs(q[p] - q[r]))
                    if layer[p] == layer[r]:
                        kept[True].append(abs(q[p] - q[r]))
        expected += g * np.mean(kept[True]) + (1 - g) * np.mean(kept[False])
    assert LayeredTV(weight=1.0)(seen) == pytest.approx(expected / q[drawn].mean(), abs=1e-9)
    with pytest.raises(ValueError, match="depth layers"):
        LayeredTV(weight=1.0)(context(flat, flat))


def test_layered_tv_gradient():
    layers = torch.randint(3, (1, 12, 10), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    depths = (1 + photo()[..., :1]).requires_grad_()
    term, mean = LayeredTV(weight=1.0), (1 / depths.detach()).mean()

    def value(d):
        # undoes the mean disparity, which is a constant of the step
        return term(context(photo(), photo(), depths=d, layers=layers, step=4)) * (1 / d.detach()).mean() / mean

    assert torch.autograd.gradcheck(value, (depths,))


@dataclass(frozen=True)
class _Matched:
    match_inverse_depth: torch.Tensor
    match_pixels: torch.Tensor
    depth: torch.Tensor

    def match_errors(self, _splats):
        return self.match_pixels * (1 / self.depth[:, None] - self.match_inverse_depth), self.match_pixels


def matched(depth):
    found = torch.tensor([[0.5, 0.5], [0.0, 0.25]], dtype=torch.float64)
    pixels = torch.tensor([[40.0, 80.0], [0.0, 10.0]], dtype=torch.float64)
    return context(photo(), photo(), model=_Matched(found, pixels, depth))


def test_flow_is_zero_at_the_truth_and_pulls_towards_it_from_both_sides():
    truth = torch.tensor([2.0, 4.0], dtype=torch.float64)
    assert FlowConsistency(weight=1.0)(matched(truth)) == 0
    for factor, sign in ((0.9, -1), (1.1, 1)):
        depth = (truth * factor).requires_grad_()
        (gradient,) = torch.autograd.grad(FlowConsistency(weight=1.0)(matched(depth)), depth)
        assert (gradient.sign() == sign).all()


def test_flow_by_hand_and_its_gradient():
    # inverse depths 0.51 and 0.3: errors of 0.4, 0.8 and 0.5 px; the row without a match counts nothing
    depth = 1 / torch.tensor([0.51, 0.3], dtype=torch.float64)
    assert FlowConsistency()(matched(depth)) == pytest.approx((0.08 + 0.32 + 0.125) / 3)
    far = 1 / torch.tensor([0.55, 0.25], dtype=torch.float64)  # 2 and 4 px: linear beyond 1 px
    assert FlowConsistency()(matched(far)) == pytest.approx((1.5 + 3.5) / 3)
    assert torch.autograd.gradcheck(lambda d: FlowConsistency()(matched(d)), (depth.requires_grad_(),))
    terms = SceneTerms(l1=L1(0.0), ssim=Ssim(0.0), flow=FlowConsistency(0.1))
    once, twice = (evaluate(replace(terms, flow=FlowConsistency(w)), matched(far))["flow"] for w in (0.1, 0.2))
    assert float(twice) == pytest.approx(2 * float(once)) and once > 0


@dataclass(frozen=True)
class _Depths:
    now: torch.Tensor
    start: torch.Tensor
    spread: torch.Tensor

    def depth_residuals(self):
        return (self.now.log() - self.start.log()) / self.spread


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
    terms = SceneTerms(l1=L1(2.0), ssim=Ssim(0.0), smooth=DisparityTV(0.0))
    values = evaluate(terms, context(a, b))
    assert set(values) == {"l1"} and values["l1"] == pytest.approx(2 * float((a - b).abs().mean()))
    doubled = evaluate(replace(terms, l1=L1(4.0)), context(a, b))
    assert doubled["l1"] == pytest.approx(2 * float(values["l1"]))


WITHOUT_THE_TYPE_CHECKER = """
import torch
from gs_reg.ssim import l1_and_dssim
from gs_reg.terms.smoothness import pair_sums

drawn, small, w = torch.zeros(1, 300, 300, 3), torch.zeros(1, 4, 4, 3), torch.zeros(1, 300, 300)
calls = [
    lambda: l1_and_dssim(drawn, small),
    lambda: l1_and_dssim(drawn, drawn, torch.ones(1, 4, 4, dtype=torch.bool)),
    lambda: pair_sums(w, w > -1, torch.zeros(1, 4, 4, dtype=torch.uint8)),
    lambda: pair_sums(w, w > -1, guide=small),
]
for call in calls:
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_maps_of_another_size_than_the_render_are_refused():
    """As users have it, without the tests' checker of shapes: they would be read beyond their end."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_TYPE_CHECKER], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["images", "masks", "layers", "images"], done.stderr
    assert lines[0] == "images: expected [1, 300, 300, 3] as the cameras draw, got [1, 4, 4, 3]"
