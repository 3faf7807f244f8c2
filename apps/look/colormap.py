"""Depth as colour: near is warm, far is cool, unknown is grey."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

UNKNOWN = (0.45, 0.45, 0.45)
# Far to near, even steps in lightness up to the middle so that it also reads in grey.
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
    """The 1st and 99th percentile of known depths; (1, 2) where nothing is known."""
    known = depth[torch.isfinite(depth) & (depth > 0)].double().flatten()
    if known.numel() == 0:
        return 1.0, 2.0
    ordered = known.sort().values
    return float(ordered[int(0.01 * (len(ordered) - 1))]), float(ordered[round(0.99 * (len(ordered) - 1))])


def colorize(depth: Float[Tensor, "*B H W"], lo: float, hi: float) -> Float[Tensor, "*B H W 3"]:
    """Colours in [0, 1] of depths from `lo` (warm) to `hi` (cool), even in 1/depth; 0 and NaN are grey."""
    known = torch.isfinite(depth) & (depth > 0)
    inverse = torch.where(known, depth, torch.ones_like(depth)).clamp_min(1e-12).reciprocal()
    span = max(1 / max(lo, 1e-12) - 1 / max(hi, 1e-12), 1e-12)
    place = ((inverse - 1 / max(hi, 1e-12)) / span).clamp(0, 1) * (len(RAMP) - 1)
    low = place.floor().clamp_max(len(RAMP) - 2).long()
    ramp = torch.tensor(RAMP, dtype=depth.dtype, device=depth.device)
    colors = torch.lerp(ramp[low], ramp[low + 1], (place - low)[..., None])
    return torch.where(known[..., None], colors, ramp.new_tensor(UNKNOWN))
