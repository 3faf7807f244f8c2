"""T5: what the flow mask keeps, and the inverse depths that flow means along each ray."""

import math

import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth.ray_matches import ray_matches
from gs_reg.data_tools.flow.pairs import MAX_ROUND_TRIP, DepthFlow, flow_pairs, forward_backward_check
from gs_reg.data_tools.synthetic import Rig, flow
from gs_reg.types import Views

WIDE = Rig(192, 144, baseline=0.6, held_out=0, samples=1, principal=(0.47, 0.52), aspect=1.05)


def exact(scene):
    """Exact flow as a function of two views."""
    index = {view.names[0]: i for i, view in enumerate(scene.views)}
    return lambda a, b: flow(scene, index[a.names[0]], index[b.names[0]])[0]


@pytest.fixture(scope="module")
def two_planes():
    return synthetic.two_planes(WIDE)


def test_visible_pixels_are_kept_and_hidden_ones_are_not(two_planes):
    pairs = flow_pairs(two_planes.views, exact(two_planes))
    assert {(p.i, p.j) for p in pairs} == {(i, j) for i in range(3) for j in range(3) if i != j}
    for pair in pairs:
        _, visible = flow(two_planes, pair.i, pair.j)
        # whole windows: the two pixels beside an edge are not asked for
        inner = -torch.nn.functional.max_pool2d(-visible[None].float(), 5, 1, 2)[0] > 0
        assert pair.mask[inner].float().mean() > 0.95
        assert pair.mask[~visible].float().mean() < 0.02


@pytest.mark.parametrize(("miss", "kept"), [(1.3862, True), (1.3864, False)])
def test_threshold_is_hit(miss, kept):
    assert pytest.approx(2 * math.log(2)) == MAX_ROUND_TRIP
    there = torch.zeros(9, 12, 2)
    back = torch.zeros(9, 12, 2)
    back[4, 6] = torch.tensor([miss / 2, -miss / 2])  # the L1 norm counts, not the length
    expected = torch.ones(9, 12, dtype=torch.bool)
    if not kept:
        expected[2:7, 4:9] = False
    assert torch.equal(forward_backward_check(there, back), expected)


def test_flow_out_of_the_picture_is_not_believed():
    there = torch.tensor([3.0, 0.0]).expand(6, 12, 2)
    mask = forward_backward_check(there, -there)
    assert mask[:, :7].all() and not mask[:, 7:].any()


def test_pixels_that_do_not_count_match_nothing(two_planes):
    mask = torch.ones(1, 144, 192, dtype=torch.bool)
    mask[:, :, :96] = False
    masked = [Views(v.cameras, v.images, v.names, mask) for v in two_planes.views]
    for pair in flow_pairs(masked, exact(two_planes)):
        x = torch.arange(192) + 0.5 + pair.flow[..., 0]
        assert not pair.mask[:, :96].any() and not pair.mask[x < 95].any()


def test_matches_give_the_inverse_depth_of_the_ray_and_its_worth_in_pixels(two_planes):
    pairs = flow_pairs(two_planes.views, exact(two_planes))
    for i, view in enumerate(two_planes.views):
        matches = ray_matches(two_planes.views, pairs, i)
        used, truth = matches.pixels > 0, (1 / view.depths[0])[..., None]
        assert used.any(-1).float().mean() > 0.7
        error = (matches.inverse_depth / truth - 1).abs()[used]
        assert error.max() < 1e-3
    # one unit of inverse depth at the far camera: f * baseline pixels for cameras that only differ in x
    first = ray_matches(two_planes.views, [p for p in pairs if p.j == 1], 0)
    focal = float(two_planes.views[0].cameras.Ks[0, 0, 0])
    distance = float((two_planes.views[0].cameras.centers - two_planes.views[1].cameras.centers).norm())
    assert float(first.pixels[first.pixels > 0].median()) == pytest.approx(focal * distance, rel=0.1)


def test_many_views_are_paired_with_near_ones_only():
    scene = synthetic.plane(Rig(32, 24, cameras=10, baseline=0.05, held_out=0, samples=1))
    pairs = flow_pairs(scene.views, exact(scene))
    assert {p.j for p in pairs if p.i == 0} == {1, 2, 3, 4} and max(abs(p.i - p.j) for p in pairs) <= 4
    assert {(p.i, p.j) for p in pairs} == {(p.j, p.i) for p in pairs}


def test_flow_of_exact_depth_is_the_exact_flow(two_planes):
    source = DepthFlow({view.names[0]: view.depths[0] for view in two_planes.views})
    there, visible = flow(two_planes, 0, 1)
    got = source(two_planes.views[0], two_planes.views[1])
    torch.testing.assert_close(got[visible], there[visible], rtol=0, atol=1e-3)


def test_unknown_flow_is_not_believed():
    there = torch.zeros(8, 9, 2)
    there[4, 4] = torch.nan
    mask = forward_backward_check(there, torch.zeros(8, 9, 2))
    assert not mask[2:7, 2:7].any() and mask[0].all() and mask[:, 0].all()
