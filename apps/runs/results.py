"""Figures of result.json, under the names that they have today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SEEN = "pixels that optical flow finds in a training photo too"
"""What `seen` means, wherever it is said."""
DEPTH_OF_SPLATS = (
    "training fits colours alone: splats that overlap and are partly transparent spread about the measured surface, "
    "and a ray meets the nearer ones first, so the depth that they draw is a little too near"
)
"""Why depth after training has a larger error: on `motorcycle` it is 0.25 % nearer in the median."""
BEFORE = {"psnr_visible": "psnr_seen", "ssim_visible": "ssim_seen", "visible": "seen"}
"""Names in runs that were measured before 0.2, and those of today."""


def named_as_today(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of result.json, or the figures in it, with the names of today."""
    out = {BEFORE.get(key, key): value for key, value in values.items()}
    if isinstance(out.get("mean"), Mapping):
        out["mean"] = named_as_today(out["mean"])
    if isinstance(out.get("views"), Mapping):
        out["views"] = {name: named_as_today(figures) for name, figures in out["views"].items()}
    return out
