"""T8: stage A finds scale and offset of relative disparity again, in spite of wrong matches, and bends what is left."""

import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth.align import align, common_scale, fit_disparity, relative_disparity
from gs_reg.data_tools.depth.ray_matches import ray_matches
from gs_reg.data_tools.flow.pairs import FlowPair, flow_pairs
from gs_reg.data_tools.synthetic import Rig
from gs_reg.errors import InputError

from .test_flow_pairs import exact

RIG = Rig(96, 72, baseline=0.4, held_out=0, samples=1)
SCALE, OFFSET = 0.7, 0.05


@pytest.fixture(scope="module", params=["plane", "box_and_sphere"])
def scene(request):
    return getattr(synthetic, request.param)(RIG)


def relative(view):
    """Disparity as a network gives it: of another scale, and shifted."""
    return (1 / view.depths[0] - OFFSET) / SCALE


def with_wrong_matches(pair: FlowPair, share: float) -> FlowPair:
    generator = torch.Generator().manual_seed(pair.i * 7 + pair.j)
    wrong = torch.rand(pair.mask.shape, generator=generator) < share
    noise = 40 * torch.rand(*pair.mask.shape, 2, generator=generator) - 10
    return FlowPair(pair.i, pair.j, torch.where(wrong[..., None], pair.flow + noise, pair.flow), pair.mask)


def test_exact_matches_give_scale_and_offset_exactly(scene):
    pairs = flow_pairs(scene.views, exact(scene))
    for i, view in enumerate(scene.views):
        affine = fit_disparity(relative(view), ray_matches(scene.views, pairs, i), "a")
        assert affine.scale == pytest.approx(SCALE, abs=1e-3) and affine.offset == pytest.approx(OFFSET, abs=1e-3)


def test_a_fifth_of_wrong_matches_is_undone_to_half_a_percent(scene):
    pairs = [with_wrong_matches(pair, 0.2) for pair in flow_pairs(scene.views, exact(scene))]
    for i, view in enumerate(scene.views):
        affine = fit_disparity(relative(view), ray_matches(scene.views, pairs, i), "a")
        w = affine(relative(view))
        assert ((w * view.depths[0] - 1).abs() < 5e-3).all()


def test_order_of_the_views_changes_nothing(scene):
    pairs = [with_wrong_matches(pair, 0.2) for pair in flow_pairs(scene.views, exact(scene))]
    turned = [FlowPair(2 - p.i, 2 - p.j, p.flow, p.mask) for p in reversed(pairs)]
    for i, view in enumerate(scene.views):
        one = fit_disparity(relative(view), ray_matches(scene.views, pairs, i), "a")
        other = fit_disparity(relative(view), ray_matches(scene.views[::-1], turned, 2 - i), "a")
        assert one.scale == pytest.approx(other.scale, rel=1e-6) and one.offset == pytest.approx(other.offset, abs=1e-6)


def test_what_no_two_numbers_undo_is_bent_smoothly(scene):
    pairs = flow_pairs(scene.views, exact(scene))
    view = scene.views[1]
    bend = 0.03 * torch.linspace(0, 3, 96).sin()
    matches = ray_matches(scene.views, pairs, 1)
    stiff, _ = align(view, relative(view) + bend, matches, smooth=None)
    bent, _ = align(view, relative(view) + bend, matches)
    errors = [float((d.depth / view.depths[0] - 1).abs().median()) for d in (stiff, bent)]
    assert errors[1] < 0.002 and errors[1] < 0.2 * errors[0]
    assert (bent.depth > 0).all() and torch.isfinite(bent.sd).all() and bent.sd.min() > 0
    assert bent.confident.float().mean() > 0.7 and bent.views.max() == 2


def test_depth_given_as_disparity_and_too_few_matches_are_refused(scene):
    pairs = flow_pairs(scene.views, exact(scene))
    matches = ray_matches(scene.views, pairs, 0)
    with pytest.raises(InputError, match=r"photo_0: .*not disparity"):
        fit_disparity(scene.views[0].depths[0], matches, "photo_0")
    with pytest.raises(InputError, match="photo_0: 0 flow matches"):
        fit_disparity(relative(scene.views[0]), ray_matches(scene.views, [], 0), "photo_0")


def test_relative_disparity_keeps_no_scale_and_no_offset(scene):
    depth = scene.views[0].depths[0]
    one = relative_disparity(depth)
    assert float(one.min()) == pytest.approx(0.2) and float(one.max()) == pytest.approx(1.2)
    torch.testing.assert_close(relative_disparity(1 / (3 / depth + 0.7)), one, rtol=0, atol=1e-5)
    assert (relative_disparity(torch.full((4, 5), 2.0)) == 0.2).all()


def test_one_scale_for_all_views_is_that_of_the_median_match(scene):
    pairs = [with_wrong_matches(pair, 0.2) for pair in flow_pairs(scene.views, exact(scene))]
    matches = [ray_matches(scene.views, pairs, i) for i in range(3)]
    disparities = [1 / (0.4 * view.depths[0]) for view in scene.views]
    assert common_scale(disparities, matches) == pytest.approx(0.4, rel=1e-3)
