"""Which pixels of a held-out photo were seen: against exact flow and visibility of synthetic scenes."""

import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth.visibility import seeing_views
from gs_reg.data_tools.flow.visibility import consistent, epipolar_distance, sample, seen_mask
from gs_reg.data_tools.synthetic import Rig, flow
from gs_reg.geometry import pixel_centers
from gs_reg.types import Cameras, Views

W, H = 192, 144
WIDE = Rig(W, H, baseline=0.6, octaves=4, held_out=1, samples=2, principal=(0.47, 0.52), aspect=1.05)


@pytest.fixture(scope="module")
def two_planes():
    return synthetic.two_planes(WIDE)


def test_exact_flow_keeps_what_is_seen_and_drops_what_is_hidden(two_planes):
    """T5: recall above 95 %, hidden pixels kept below 2 %."""
    views = two_planes.views
    for i, j in ((1, 0), (0, 1), (3, 2)):
        (there, visible), (back, _) = flow(two_planes, i, j), flow(two_planes, j, i)
        mask = consistent(views[i].cameras, views[j].cameras, there, back)
        assert mask[visible].float().mean() > 0.95
        assert mask[~visible].float().mean() < 0.02


def test_photos_alone_give_nearly_the_same(two_planes):
    """DIS flow in place of the exact one."""
    *training, held_out = two_planes.views
    visible = torch.stack([flow(two_planes, 3, j)[1] for j in range(3)])
    for chosen in ([0], [2], [0, 1, 2]):
        mask = seen_mask(held_out, [training[j] for j in chosen])
        truth = visible[chosen].any(0)
        assert mask[truth].float().mean() > 0.95
        assert mask[~truth].float().mean() < 0.05
        assert mask.float().mean() == pytest.approx(float(truth.float().mean()), abs=0.03)


def test_number_of_seeing_views(two_planes):
    """Against exact visibility, with a view of another size among them; where nothing is drawn nobody looks."""
    views = [*two_planes.views[:2], halved(two_planes.views[2])]
    depths = [view.depths[0].clone() for view in views]
    depths[0][:8] = 0
    counts = seeing_views(views, depths)
    truth = 1 + torch.stack([flow(two_planes, 0, j)[1] for j in (1, 2)]).sum(0)
    assert counts[2].shape == (H // 2, W // 2) and all(count.max() <= 3 for count in counts)
    assert (counts[0][8:] == truth[8:]).float().mean() > 0.97 and (truth[8:] < 3).any()
    assert (counts[0][:8] == 0).all() and (counts[0][8:] > 0).all()


def halved(view: Views) -> Views:
    """Every second pixel, whose centre the camera keeps to."""
    cameras = view.cameras.resized(W // 2, H // 2)
    Ks = cameras.Ks.clone()
    Ks[:, :2, 2] += 0.25
    depths = view.depths[:, ::2, ::2]
    return Views(Cameras(cameras.viewmats, Ks, W // 2, H // 2), view.images[:, ::2, ::2], view.names, None, depths)


def test_nothing_is_seen_of_another_scene(two_planes):
    other = synthetic.plane(Rig(W, H, cameras=1, seed=3, octaves=4, held_out=0, samples=1))
    mask = seen_mask(two_planes.views[3], [other.views[0]])
    assert mask.float().mean() < 0.05
    assert not seen_mask(two_planes.views[3], []).any()


def stereo(width: int, height: int) -> tuple[Cameras, Cameras]:
    left = Cameras(torch.eye(4)[None], torch.tensor([[[50.0, 0, 8], [0, 50, 6], [0, 0, 1]]]), width, height)
    viewmats = left.viewmats.clone()
    viewmats[0, 0, 3] = -1
    return left, Cameras(viewmats, left.Ks, width, height)


@pytest.mark.parametrize(("gap", "kept"), [(1.386, True), (1.41, False)])
def test_thresholds_are_hit(gap, kept):
    """The way back misses by `gap` along the epipolar line; and across it up to 1.5 px are allowed."""
    left, right = stereo(16, 12)
    there = torch.tensor([-3.0, 0.0]).expand(12, 16, 2)
    back = torch.tensor([3.0 + gap, 0.0]).expand(12, 16, 2)
    mask = consistent(left, right, there, back)
    assert not mask[:, :3].any(), "flow that leaves the picture"
    assert mask[:, 3:].all() if kept else not mask.any()
    across = torch.tensor([0.0, 0.1 + gap]).expand(12, 16, 2)
    mask = consistent(left, right, there + across, -(there + across))
    assert mask[2:-2, 3:].all() if kept else not mask.any()


def test_sampling_has_pixel_centres_at_a_half():
    """T2: no motion is the identity, whole pixels are shifts, an affine field is exact between pixels."""
    field = torch.rand(7, 9, 2, generator=torch.Generator().manual_seed(0))
    centers = pixel_centers(9, 7, field)
    torch.testing.assert_close(sample(field, centers), field, rtol=0, atol=1e-6)
    moved = sample(field, centers + torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(moved[1:, :-2], field[:-1, 2:], rtol=0, atol=1e-6)
    affine = centers * torch.tensor([0.5, -2.0]) + 1
    inner = centers[1:-1, 1:-1] + torch.tensor([0.3, -0.4])
    torch.testing.assert_close(sample(affine, inner), inner * torch.tensor([0.5, -2.0]) + 1)


def test_epipolar_distance_by_hand(two_planes):
    left, right = stereo(16, 12)
    points = torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    distance = epipolar_distance(left, right, points, points + torch.tensor([[2.0, 1.25], [-9.0, 0.0]]))
    torch.testing.assert_close(distance, torch.tensor([1.25, 0.0]), rtol=0, atol=1e-5)
    there, _ = flow(two_planes, 0, 2)
    centers = pixel_centers(W, H, there)
    a, b = two_planes.views[0].cameras, two_planes.views[2].cameras
    assert epipolar_distance(a, b, centers, centers + there).max() < 1e-3
