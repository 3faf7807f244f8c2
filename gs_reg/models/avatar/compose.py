"""Splats of one expression: canonical Gaussians, moved by the coarse field and changed by the detail field."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.fields.detail import Residuals
from gs_reg.fields.jacobian import guarded
from gs_reg.rotations import quat_multiply, rotvec_to_quat
from gs_reg.sh import C0
from gs_reg.types import Splats


@dataclass(frozen=True)
class Motion:
    """What both fields say of all Gaussians under one code."""

    offset: Float[Tensor, "N 3"]
    """Of the coarse field."""
    jacobian: Float[Tensor, "N 3 3"] | None
    """None = Gaussians keep their shape and direction."""
    residuals: Residuals
    folded: Bool[Tensor, "N"] | None = None
    """Rows whose Jacobian was no use and is a rotation instead; None without Jacobians."""

    def guarded(self) -> Motion:
        """With a rotation in the place of each Jacobian that nearly folds or stretches too far."""
        if self.jacobian is None:
            return self
        jacobian, folded = guarded(self.jacobian)
        return replace(self, jacobian=jacobian, folded=folded)


def spread(
    offset: Float[Tensor, "M 3"],
    jacobian: Float[Tensor, "M 3 3"] | None,
    residuals: Residuals,
    rows: Int[Tensor, "M"] | None,
    count: int,
) -> Motion:
    """The motion of all Gaussians, of which these rows move and all others stay as they are; None = all move."""
    if rows is None:
        return Motion(offset, jacobian, residuals)
    index = rows

    def among(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.new_zeros(count, *values.shape[1:]).index_copy(0, index, values)

    if jacobian is not None:
        jacobian = torch.eye(3).to(jacobian).repeat(count, 1, 1).index_copy(0, index, jacobian)
    whole = {name: among(value) for name, value in vars(residuals).items()}
    return Motion(offset.new_zeros(count, 3).index_copy(0, index, offset), jacobian, Residuals(**whole))


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


def _shifted(sh: Float[Tensor, "N K 3"], color: Float[Tensor, "N 3"]) -> Float[Tensor, "N K 3"]:
    """The coefficients with a colour added to that of degree 0."""
    dc = sh[:, :1] + color[:, None] / C0
    return torch.cat([dc, sh[:, 1:]], dim=1) if sh.shape[1] > 1 else dc
