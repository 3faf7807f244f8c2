"""Colours of an edit for Gaussians of the part that no anchor shows."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from gs_reg.neighbors import nearest
from gs_reg.render import RenderConfig, lift, project
from gs_reg.types import Splats, Views

HARDLY = 0.1
"""Of the mean blending weight in the anchors, up to which a Gaussian is not shown by them."""
NEIGHBORS = 4
"""Shown Gaussians whose mean colour it gets."""


@torch.no_grad()
def carry_colors(
    splats: Splats, edited: Bool[Tensor, "N"], anchors: Views, config: RenderConfig = RenderConfig()
) -> Splats:
    """The edited rows; those that the anchors' masks hardly show look like the nearest ones that are shown.

    Anchors alone leave them in the neutral colour of prior removal, or push them far to make up for single pixels.
    """
    assert anchors.masks is not None
    rows = splats.rows(edited)
    weights = torch.zeros_like(rows.opacity_logits)
    for i in range(len(anchors)):
        mask = anchors.masks[i, None, :, :, None].to(splats.means)
        weights += lift(project(splats, anchors.cameras[i], config), mask).sums[0, edited, 0]
    shown = weights > HARDLY * weights.mean()
    if int(shown.sum()) < NEIGHBORS or bool(shown.all()):
        return rows
    near = nearest(rows.means[shown], NEIGHBORS, rows.means[~shown])[0].long()
    sh = rows.sh.clone()
    sh[~shown] = rows.sh[shown][near].mean(1)
    return replace(rows, sh=sh)
