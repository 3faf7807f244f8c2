"""Measures of what changed outside the part, and of agreement between views."""

from dataclasses import replace

import pytest
import torch

from gs_reg.parts.locality import consistency, pixel_changes, reaching_out, rows_changed, turned
from gs_reg.parts.views import dilated, part_views
from tests.parts.recoloured import recoloured


def test_changed_rows_are_counted_by_their_bits():
    edited = recoloured(count=200, views=1)
    owned = edited.chosen
    after = edited.splats.rows(torch.cat([(~owned).nonzero()[:, 0], owned.nonzero()[:, 0]]))
    assert rows_changed(edited.splats, after, owned) == 0
    sh, logits = after.sh.clone(), after.opacity_logits.clone()
    sh[2, 5, 1] = -0.0  # it was 0
    logits[7] = torch.nextafter(logits[7], torch.tensor(9.0))
    sh[-1] += 1  # the part's own
    assert rows_changed(edited.splats, replace(after, sh=sh, opacity_logits=logits), owned) == 2


def test_changes_outside_the_mask_by_hand():
    before = torch.full((2, 8, 8, 3), 0.5)
    after, masks = before.clone(), torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    same = pixel_changes(before, after, masks)
    assert (same.psnr, same.largest, same.share, same.leakage) == (99.0, 0.0, 0.0, 0.0)
    after[:, :4] += 0.3
    assert pixel_changes(before, after, masks) == same
    after[0, 6, 6] += 0.1
    changes = pixel_changes(before, after, masks)
    assert changes.leakage == pytest.approx(0.3 / (0.3 + 2 * 32 * 3 * 0.3), rel=1e-4)
    assert changes.largest == pytest.approx(0.1, rel=1e-4) and changes.share == pytest.approx(1 / 64)
    error = 3 * 0.01 / (32 * 3)
    assert changes.psnr == pytest.approx((-10 * torch.tensor(error).log10().item() + 99) / 2, rel=1e-4)
    assert changes.ssim < 1
    assert pixel_changes(before, after, torch.ones_like(masks)) is None


def test_a_mask_is_dilated_to_all_sides():
    mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    mask[0, 4, 4] = True
    assert dilated(mask, 2)[0].nonzero().amin(0).tolist() == [2, 2] and dilated(mask, 2).sum() == 25


def test_gaussians_that_reach_out_are_counted():
    edited = recoloured(views=4)
    masks = dilated(part_views(edited.splats, edited.cameras, edited.chosen).masks, 2)
    count, share = reaching_out(edited.splats, edited.cameras, edited.chosen, masks)
    assert count == 0 and share < 0.05
    means = edited.splats.means.clone()
    some = edited.chosen.nonzero()[:5, 0]
    means[some] += torch.tensor([0.0, 0.6, 0.0])
    count, more = reaching_out(replace(edited.splats, means=means), edited.cameras, edited.chosen, masks)
    assert count == 5 and more > share


def test_turned_cameras_look_at_the_point_from_the_side():
    cameras = recoloured(views=3).cameras
    center = torch.tensor([0.1, -0.2, 0.3])
    there = turned(cameras, center, 45.0)
    for before, after in zip(cameras.centers - center, there.centers - center, strict=True):
        assert float(before.norm()) == pytest.approx(float(after.norm()), rel=1e-4)
    seen = [(c.viewmats[:, :3, :3] @ center + c.viewmats[:, :3, 3]) for c in (cameras, there)]
    torch.testing.assert_close(seen[0], seen[1], atol=1e-4, rtol=1e-4)
    up, side = cameras.viewmats[0, 1, :3], torch.nn.functional.normalize(there.centers[0] - cameras.centers[0], dim=0)
    assert abs(float(up @ side)) < 1e-3


def test_a_colour_that_changes_with_the_view_is_inconsistent():
    edited = recoloured(views=4)
    cameras = edited.cameras
    plain = consistency(edited.splats, cameras, edited.chosen)
    assert plain[8.0] < 0.03
    sh = edited.splats.sh.clone()
    sh[edited.chosen, 3] += 1.0  # along x
    moody = consistency(replace(edited.splats, sh=sh), cameras, edited.chosen)
    assert moody[45.0] > 0.1 > moody[8.0] > 2 * plain[8.0]
    away = turned(cameras, cameras.centers[0], 180.0)
    assert consistency(edited.splats, away[0], edited.chosen)[8.0] is None
