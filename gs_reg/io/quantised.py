"""What the quantised formats share: gsply's arrays, checks, and the warning of sizes that a format clamps."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.io.ply import ROUNDED, finite_rows
from gs_reg.types import Splats

log = logging.getLogger(__name__)

RESCALE = "write it in other coordinates (of a run: gs-reg export --frame normalised)"
CLAMPED = 0.01
"""Share of clamped splats from which there is a warning."""


def unit_quats(quats: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    """Of length 1; a zero quaternion, which cannot be normalised, becomes the identity."""
    zero = quats.norm(dim=1, keepdim=True) < 1e-20
    return torch.nn.functional.normalize(torch.where(zero, quats.new_tensor([1.0, 0, 0, 0]), quats), dim=1)


def to_gsply(splats: Splats):
    from gsply import GSData

    high = splats.sh[:, 1:].contiguous().numpy() if splats.sh.shape[1] > 1 else None
    quats = unit_quats(splats.quats)
    means, scales, opacities = splats.means, splats.log_scales, splats.opacity_logits
    dc = splats.sh[:, 0].contiguous()
    means, scales, quats, opacities = (x.contiguous().numpy() for x in (means, scales, quats, opacities))
    return GSData.from_arrays(means, scales, quats, opacities, dc.numpy(), high, format="ply")


def from_gsply(data, path: Path) -> Splats:
    def tensor(array) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=np.float32))

    sh = tensor(data.sh0)[:, None]
    if data.shN is not None and data.shN.shape[1] > 0:
        sh = torch.cat([sh, tensor(data.shN)], dim=1)
    parts = [tensor(x) for x in (data.means, data.quats, data.scales, data.opacities)]
    return finite_rows(Splats(parts[0], parts[1], parts[2], parts[3].reshape(-1), sh), path)


def check_and_clean(path: Path, splats: Splats) -> Splats:
    """The finite splats in float32 on the CPU; raises InputError where the formats cannot hold them."""
    if splats.sh.shape[1] not in (1, 4, 9, 16):
        raise InputError(f"{path}: holds spherical harmonics of degree 0 to 3, got {splats.sh.shape[1]} coefficients")
    splats = finite_rows(splats.detach().to("cpu", torch.float32), path)
    if len(splats) == 0:
        raise InputError(f"{path}: this format needs at least one splat; write .ply for an empty scene")
    return splats


def warn_of_clamped(path: str | Path, splats: Splats, bounds: tuple[float, float]) -> None:
    """Warns where the format clamps the longest axes of many splats: the scene has other units than it is made for."""
    longest = splats.log_scales.amax(1)
    share = float(((longest < bounds[0]) | (longest > bounds[1])).float().mean())
    if share > CLAMPED:
        low, high = (math.exp(bound) for bound in bounds)
        log.warning(
            "%s: this format holds sizes from %.2g to %.2g units; %.0f %% of the splats are beyond and are changed: %s",
            *(path, low, high, 100 * share, RESCALE),
        )


def warn_of_rounding(
    path: str | Path, means: Float[Tensor, "N 3"], written: Float[Tensor, "N 3"], format_name: str
) -> None:
    """Warns where a format moves positions by a share of the scene's size that shows; a few far ones do not count."""
    if len(means) < 2:
        return
    size = float((means - means.median(0).values).abs().median())
    moved = float(
        (written - means).abs().amax(1).quantile(0.99) if len(means) < 1 << 24 else (written - means).abs().max()
    )
    if moved > 2 * size * ROUNDED:
        log.warning(
            "%s: %s moves positions by up to %.2g units in a scene of these coordinates: export a .ply, or %s",
            *(path, format_name, moved, RESCALE),
        )
