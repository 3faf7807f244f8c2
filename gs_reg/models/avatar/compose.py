"""Splats of one expression: canonical Gaussians, moved by the coarse field and changed by the detail field."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.fields.jacobian import principal_stretches
from gs_reg.models.avatar.motion import Motion
from gs_reg.rotations import quat_multiply, rotvec_to_quat
from gs_reg.sh import C0
from gs_reg.types import Splats

STEEP = 5.0
"""Share of the colour for a stretch by the logarithm of that: the whole of it at 22 %."""
MOST = 1.0
"""Largest logarithm of a stretch that changes a colour any further."""


def composed(base: Splats, motion: Motion) -> Splats:
    """The splats; what the Laplacian terms and others read of the motion is in `extra`, beside that of `base`."""
    r = motion.residuals
    offset = motion.offset if r.pos is None else motion.offset + r.pos
    extra = {"offset": offset, "coarse": motion.offset, "folded": motion.folded}
    extra |= {"d_rot": r.rot, "d_scale": r.scale, "d_opacity": r.opacity, "d_color": r.color, "head_inputs": r.raw}
    known = {name: value for name, value in extra.items() if value is not None}
    return Splats(
        means=base.means + offset,
        quats=base.quats if r.rot is None else quat_multiply(rotvec_to_quat(r.rot), base.quats),
        log_scales=base.log_scales if r.scale is None else base.log_scales + r.scale,
        opacity_logits=base.opacity_logits if r.opacity is None else base.opacity_logits + r.opacity,
        sh=base.sh if r.color is None else _shifted(base.sh, r.color),
        extra={**base.extra, **known},
        warps=motion.jacobian,
    )


def creased(splats: Splats, colors: Float[Tensor, "N 2 3"]) -> Splats:
    """The splats with the colours that their skin takes where it is compressed, and where it is stretched.

    The colours are in proportion to the logarithm of the stretch.
    """
    if splats.warps is None:
        return splats
    stretches = principal_stretches(splats.warps).nan_to_num()
    amounts = torch.stack([-stretches[:, 0], stretches[:, 2]], dim=1).clamp(0, MOST)
    return replace(splats, sh=_shifted(splats.sh, (STEEP * amounts[:, :, None] * colors).sum(1)))


def _shifted(sh: Float[Tensor, "N K 3"], color: Float[Tensor, "N 3"]) -> Float[Tensor, "N K 3"]:
    """The coefficients with a colour added to that of degree 0."""
    dc = sh[:, :1] + color[:, None] / C0
    return torch.cat([dc, sh[:, 1:]], dim=1) if sh.shape[1] > 1 else dc
