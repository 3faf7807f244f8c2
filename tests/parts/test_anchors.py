"""Anchors: greedy cover, warps by depth, and the gate for edits that do not agree."""

from dataclasses import replace

import pytest
import torch

from gs_reg.parts.anchors import (
    MOST_ENLARGED,
    AnchorConfig,
    agreeing,
    agrees,
    choose_anchors,
    composite,
    covered,
    nearer,
    reprojection_error,
    visibility,
    warp,
)
from gs_reg.parts.views import part_views
from gs_reg.types import Cameras, Views
from tests.parts.recoloured import recoloured

SIZE, FOCAL = 32, 16.0


@pytest.fixture(scope="module")
def mug():
    edited = recoloured()
    views = part_views(edited.splats, edited.cameras, edited.chosen)
    return edited, views, visibility(edited.splats, edited.cameras, edited.chosen)


def angle(cameras, a, b, center):
    d = torch.nn.functional.normalize(cameras.centers - center, dim=1)
    return float(torch.rad2deg((d[a] @ d[b]).clamp(-1, 1).arccos()))


def test_greedy_cover_beats_random(mug):
    edited, views, visible = mug
    center = edited.splats.means[edited.chosen].median(0).values
    chosen = choose_anchors(visible, views.masks, edited.cameras, center, AnchorConfig(count=4))
    assert len(set(chosen)) == 4 and chosen[0] == int(views.masks.flatten(1).sum(1).argmax())
    assert min(angle(edited.cameras, a, b, center) for a in chosen for b in chosen if a < b) >= 20
    g = torch.Generator().manual_seed(0)
    others = [covered(visible, torch.randperm(12, generator=g)[:4].tolist()) for _ in range(50)]
    mine = covered(visible, chosen)
    assert mine > 1.02 * sum(others) / 50 and sum(mine >= other for other in others) >= 45
    assert mine > covered(visible, chosen[:3]) > covered(visible, chosen[:1])


def test_views_without_the_part_or_too_near_are_no_anchors(mug):
    edited, views, visible = mug
    center = edited.splats.means[edited.chosen].median(0).values
    config = AnchorConfig(count=12)
    assert choose_anchors(visible, torch.zeros_like(views.masks), edited.cameras, center, config) == ()
    one = torch.zeros_like(views.masks)
    one[3] = views.masks[3]
    assert choose_anchors(visible, one, edited.cameras, center, config) == (3,)
    assert len(choose_anchors(visible, views.masks, edited.cameras, center, replace(config, apart=100.0))) <= 3
    twice = Cameras.joined([edited.cameras[0], edited.cameras[0]])
    both = choose_anchors(visible[[0, 0]], views.masks[[0, 0]], twice, center, replace(config, apart=0.0))
    assert both == (0,)  # the second shows nothing more


def plane_and_card(shift):
    """A textured wall at depth 4 with a card at depth 2 before it, from a camera that is `shift` to the right.

    With a shift of 1/4 the wall moves by 1 pixel and the card by 2: no pixel is interpolated.
    """
    viewmat = torch.eye(4)
    viewmat[0, 3] = -shift
    K = torch.tensor([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1.0]])
    g = torch.Generator().manual_seed(0)
    wall, card = torch.rand(SIZE, 3 * SIZE, 3, generator=g), torch.rand(SIZE, 3 * SIZE, 3, generator=g)
    columns = torch.arange(SIZE) + SIZE
    moved = [columns + round(FOCAL * shift / depth) for depth in (4, 2)]
    on_card = ((moved[1] >= SIZE + 10) & (moved[1] < SIZE + 20))[None].expand(SIZE, SIZE)
    picture = torch.where(on_card[..., None], card[:, moved[1]], wall[:, moved[0]])
    depths = torch.where(on_card, 2.0, 4.0)
    return Views(
        Cameras(viewmat[None], K[None], SIZE, SIZE),
        picture[None],
        masks=torch.ones(1, SIZE, SIZE).bool(),
        depths=depths[None],
    )


def test_a_warp_is_exact_where_both_see_the_surface():
    source, target = plane_and_card(0.0), plane_and_card(0.25)
    warped, there = warp(source, target)
    torch.testing.assert_close(warped[there], target.photos[0][there], atol=1e-5, rtol=0)
    column = torch.arange(SIZE)
    came_from = column + torch.where(target.depths[0, 0] == 2, 2, 1)
    seen = came_from < SIZE
    # the same surface is there in the source: not the wall that the card hid
    seen &= source.depths[0, 0, came_from.clamp_max(SIZE - 1)] == target.depths[0, 0]
    assert torch.equal(there, seen.expand(SIZE, SIZE)) and 24 < seen.sum() < SIZE - 1


def test_a_warp_keeps_to_both_masks():
    source, target = plane_and_card(0.0), plane_and_card(0.25)
    half = target.masks.clone()
    half[:, : SIZE // 2] = False
    assert not warp(source, replace(target, masks=half))[1][: SIZE // 2].any()
    _, there = warp(replace(source, masks=half), target)
    assert not there[: SIZE // 2].any() and there[SIZE // 2 + 1 : -1].any()
    assert not warp(replace(source, depths=source.depths * 1.05), target)[1].any()


def test_edits_are_carried_to_the_next_view(mug):
    edited, views, visible = mug
    center = edited.splats.means[edited.chosen].median(0).values
    first, second, target = choose_anchors(visible, views.masks, edited.cameras, center)[:3]
    after = replace(part_views(edited.after, edited.cameras, edited.chosen))
    picture, known = composite([after[first], after[second]], views[target])
    assert known.any() and not (known & ~views.masks[target]).any()
    wanted, before = after.photos[target], views.photos[target]
    assert (picture - wanted)[known].abs().mean() < 0.04 < (before - wanted)[known].abs().mean()
    assert torch.equal(picture[~known], before[~known])
    one = composite([after[first]], views[target])[1]
    assert known.sum() >= one.sum()


def test_the_gate_refuses_an_edit_that_does_not_agree(mug):
    edited, _, visible = mug
    after = part_views(edited.after, edited.cameras, edited.chosen)
    center = edited.splats.means[edited.chosen].median(0).values
    chosen = choose_anchors(visible, after.masks, edited.cameras, center, AnchorConfig(apart=25.0))
    reference = after[chosen[0]]
    near = next(i for i in range(len(after)) if i != chosen[0] and reprojection_error(after[i], reference) is not None)
    good = after[near]
    assert agrees(good, reference) and reprojection_error(good, reference) < 0.05
    bad = replace(good, images=torch.where(good.masks[..., None], torch.tensor([0.9, 0.1, 0.8]), good.photos))
    assert not agrees(bad, reference) and reprojection_error(bad, reference) > 0.12
    blind = replace(good, masks=torch.zeros_like(good.masks))
    assert reprojection_error(blind, reference) is None and agrees(blind, reference)


def test_the_largest_group_that_agrees_is_kept_where_the_first_edit_failed():
    edited = recoloured()
    after = part_views(edited.after, edited.cameras, edited.chosen)
    assert after.masks is not None
    good = after[int(after.masks.sum((1, 2)).argmax())]
    bad = replace(good, images=1 - good.photos)
    assert agreeing([bad, good, good]) == [1, 2] and agreeing([good, good, bad]) == [0, 1]
    assert agreeing([good, good]) == [0, 1] and agreeing([]) == []


def test_small_parts_are_seen_from_nearer():
    cameras = recoloured().cameras[:4]
    width, height = cameras.width, cameras.height
    boxes = [(2, 4, width // 4, 3), (0, 0, width, 5), None, (width - 1, height - 1, 1, 1)]
    masks = torch.zeros(4, height, width, dtype=torch.bool)
    for mask, box in zip(masks, boxes, strict=True):
        if box is not None:
            left, top, w, h = box
            mask[top : top + h, left : left + w] = True
    near = nearer(cameras, masks, 0.5)
    assert (near.width, near.height) == (width, height) and torch.equal(near.viewmats, cameras.viewmats)
    zooms = (near.Ks[:, 0, 0] / cameras.Ks[:, 0, 0]).tolist()
    assert zooms == pytest.approx([2.0, 1.0, 1.0, MOST_ENLARGED], rel=0.05)
    assert torch.equal(near.Ks[1:3], cameras.Ks[1:3])
    for i in (0, 3):  # all of the part is in the crop
        left, top, w, h = boxes[i]
        corners = torch.tensor([[left, top, 1.0], [left + w, top + h, 1.0]]) @ cameras.Ks[i].inverse().T
        pixels = corners @ near.Ks[i].T
        assert (pixels[:, :2] >= -1e-3).all() and (pixels[:, :2] <= width + 1e-3).all()
    assert torch.equal(nearer(cameras, masks, 0.0).Ks, cameras.Ks)
