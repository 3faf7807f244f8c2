"""Splats of one expression: canonical Gaussians, moved by the coarse field and changed by the detail field."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.fields.detail import Residuals
from gs_reg.rotations import quat_multiply, rotvec_to_quat
from gs_reg.sh import C0
from gs_reg.types import Splats


@dataclass(frozen=True)
class Motion:
    """What both fields say of the rows that move under one code."""

    offset: Float[Tensor, "M 3"]
    """Of the coarse field."""
    jacobian: Float[Tensor, "M 3 3"] | None
    """None = Gaussians keep their shape and direction."""
    folded: Bool[Tensor, "M"]
    """Rows whose Jacobian was no use and is a rotation instead."""
    residuals: Residuals

    def spread(self, rows: Int[Tensor, "M"], count: int) -> Motion:
        """The motion of all Gaussians, of which these rows move and all others stay as they are."""
        r, jacobian = self.residuals, self.jacobian
        if jacobian is not None:
            eye = torch.eye(3).to(jacobian).repeat(count, 1, 1)
            jacobian = eye.index_copy(0, rows, jacobian)
        values = {name: _spread(getattr(r, name), rows, count) for name in Residuals.__dataclass_fields__}
        offset, folded = _spread(self.offset, rows, count), _spread(self.folded, rows, count)
        assert offset is not None and folded is not None
        return Motion(offset, jacobian, folded, Residuals(**values))


def _spread(values: Tensor | None, rows: Int[Tensor, "M"], count: int) -> Tensor | None:
    if values is None:
        return None
    return values.new_zeros(count, *values.shape[1:]).index_copy(0, rows, values)


def composed(base: Splats, motion: Motion) -> Splats:
    """The splats; what the Laplacian terms and others read of the motion is in `extra`, beside that of `base`."""
    r = motion.residuals
    offset = motion.offset if r.pos is None else motion.offset + r.pos
    extra = {"offset": offset, "coarse": motion.offset, "folded": motion.folded}
    named = {"d_rot": r.rot, "d_scale": r.scale, "d_opacity": r.opacity, "d_color": r.color, "head_inputs": r.raw}
    extra |= {name: value for name, value in named.items() if value is not None}
    return Splats(
        means=base.means + offset,
        quats=base.quats if r.rot is None else quat_multiply(rotvec_to_quat(r.rot), base.quats),
        log_scales=base.log_scales if r.scale is None else base.log_scales + r.scale,
        opacity_logits=base.opacity_logits if r.opacity is None else base.opacity_logits + r.opacity,
        sh=base.sh if r.color is None else _shifted(base.sh, r.color),
        extra={**base.extra, **extra},
        warps=motion.jacobian,
    )


def _shifted(sh: Float[Tensor, "N K 3"], color: Float[Tensor, "N 3"]) -> Float[Tensor, "N K 3"]:
    """The coefficients with a colour added to that of degree 0."""
    dc = sh[:, :1] + color[:, None] / C0
    return torch.cat([dc, sh[:, 1:]], dim=1) if sh.shape[1] > 1 else dc
