"""Needles: splats drawn as long thin streaks, which follow a photo's texture and show as spikes from a new view."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.render import Projected, RenderConfig, lift, project
from gs_reg.types import Cameras, Splats

LONG, THIN = 12.0, 8.0
"""Pixels of the long axis (one standard deviation), and its length in short axes, above which a splat is a needle."""


@torch.no_grad()
def needle_share(splats: Splats, camera: Cameras, config: RenderConfig | None = None) -> float:
    """The needles' share of the blending weights of a whole picture; 0 where it is empty."""
    projected = project(splats, camera, replace(config or RenderConfig(), supersample=1))
    everywhere = splats.means.new_ones(len(camera), camera.height, camera.width, 1)
    weights = lift(projected, everywhere).weights
    long, short = ellipse_axes(projected)
    total = float(weights.sum())
    return float(weights[(long > LONG) & (long > THIN * short)].sum()) / total if total > 0 else 0.0


def ellipse_axes(projected: Projected) -> tuple[Float[Tensor, "C N"], Float[Tensor, "C N"]]:
    """Standard deviations in pixels along the long and the short axis of each ellipse; 0 where it is not drawn.

    They are 1 / sqrt of the eigenvalues of the matrix ((a, b), (b, c)) of a conic.
    """
    a, b, c = projected.conics.double().unbind(-1)
    middle, half = (a + c) / 2, torch.hypot((a - c) / 2, b)
    large = middle + half
    small = (a * c - b * b) / large  # their product is the determinant; middle - half would cancel for a needle
    drawn = (projected.radii > 0).all(-1) & (small > 0)
    axes = [torch.where(drawn, value, 1.0).rsqrt() * drawn for value in (small, large)]
    return axes[0], axes[1]
