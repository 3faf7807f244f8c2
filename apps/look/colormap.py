"""Depth as colours: near is warm, far is cool, no value is grey."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

NO_VALUE = (0.45, 0.45, 0.45)
# From far to near. Lightness rises in even steps to the middle, so that it can also be read in black and white.
RAMP = (
    (0.13, 0.07, 0.28),
    (0.20, 0.25, 0.62),
    (0.13, 0.49, 0.78),
    (0.14, 0.69, 0.64),
    (0.53, 0.83, 0.37),
    (0.94, 0.85, 0.26),
    (0.98, 0.60, 0.19),
    (0.87, 0.29, 0.17),
    (0.58, 0.08, 0.15),
)


def depth_range(depth: Float[Tensor, "*B H W"]) -> tuple[float, float]:
    """The 1st and 99th percentile of all depths that are finite and positive; (1, 2) where there are none."""
    valid = depth[torch.isfinite(depth) & (depth > 0)].double().flatten()
    if valid.numel() == 0:
        return 1.0, 2.0
    ordered = valid.sort().values
    return float(ordered[int(0.01 * (len(ordered) - 1))]), float(ordered[round(0.99 * (len(ordered) - 1))])


def colorize(depth: Float[Tensor, "*B H W"], near: float, far: float) -> Float[Tensor, "*B H W 3"]:
    """Colours in [0, 1] of depths from `near` (warm) to `far` (cool), linear in 1/depth; 0 and NaN are grey."""
    valid = torch.isfinite(depth) & (depth > 0)
    inverse = torch.where(valid, depth, torch.ones_like(depth)).clamp_min(1e-12).reciprocal()
    span = max(1 / max(near, 1e-12) - 1 / max(far, 1e-12), 1e-12)
    colors = along(RAMP, (inverse - 1 / max(far, 1e-12)) / span)
    return torch.where(valid[..., None], colors, colors.new_tensor(NO_VALUE))


def along(ramp: Sequence[Sequence[float]], share: Float[Tensor, "*S"]) -> Float[Tensor, "*S 3"]:
    """Colours of a ramp, from its first at a share of 0 to its last at 1."""
    colors = torch.tensor(ramp, dtype=share.dtype, device=share.device)
    position = share.clamp(0, 1) * (len(ramp) - 1)
    low = position.floor().clamp_max(len(ramp) - 2).long()
    return torch.lerp(colors[low], colors[low + 1], (position - low)[..., None])
