"""Gaussians that no anchor shows get the colours of their neighbours."""

from dataclasses import replace

import torch

from gs_reg.parts.carry import carry_colors
from gs_reg.parts.views import part_views
from gs_reg.types import Splats

from .test_removal import cameras, sheet


def test_what_no_anchor_shows_looks_like_its_neighbours():
    front, back = sheet(0.4, 0.0, (0.8, 0.1, 0.1)), sheet(0.4, -0.2, (0.5, 0.5, 0.5))
    front = replace(front, opacity_logits=torch.full_like(front.opacity_logits, 9.0))
    back = replace(back, opacity_logits=torch.full_like(back.opacity_logits, -1.0))
    other = sheet(0.2, 0.0, (0.1, 0.1, 0.8), at=1.0)
    splats = Splats.joined([other, front, back])
    edited = torch.arange(len(splats)) >= len(other)
    anchors = part_views(splats, cameras((0,)), edited)
    rows = carry_colors(splats, edited, anchors)
    found = rows.sh[:, 0].split([len(front), len(back)])
    border = (front.means[:, :2].abs() > 0.35).any(1)
    assert torch.equal(found[0], front.sh[:, 0]) and torch.equal(rows.means, splats.means[edited])
    error = (found[1] - front.sh[:, 0])[~border].abs()
    assert error.max() < 0.1 and (back.sh[:, 0] - front.sh[:, 0]).abs().min() > 0.1


def test_nothing_is_carried_where_all_is_shown_or_nothing_is():
    front = sheet(0.4, 0.0, (0.8, 0.1, 0.1))
    all_of_it = torch.ones(len(front), dtype=torch.bool)
    anchors = part_views(front, cameras((0,)), all_of_it)
    assert torch.equal(carry_colors(front, all_of_it, anchors).sh, front.sh)
    assert anchors.masks is not None
    blind = replace(anchors, masks=torch.zeros_like(anchors.masks))
    assert torch.equal(carry_colors(front, all_of_it, blind).sh, front.sh)
