"""Where the head is: small corrections of tracked poses, and splats of the head's frame placed in the world."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.geometry import similarity_scale, transform_points
from gs_reg.io.frames import sh_rotation
from gs_reg.rotations import quat_to_rotmat, rotvec_to_quat
from gs_reg.types import Splats


def corrected(pose: Float[Tensor, "4 4"], increment: Float[Tensor, "6"]) -> Float[Tensor, "4 4"]:
    """The pose after a small rigid motion in its own frame: a rotation vector, then a shift in the frame's units."""
    top = torch.cat([quat_to_rotmat(rotvec_to_quat(increment[:3])), increment[3:, None]], dim=1)
    return pose @ torch.cat([top, F.one_hot(torch.tensor([3]), 4).to(top)])


def rotation_of(pose: Float[Tensor, "4 4"]) -> Float[Tensor, "3 3"]:
    """The rotation of a similarity (float64); raises ValueError where it is none."""
    return pose[:3, :3].double() / similarity_scale(pose)


def rotated_sh(sh: Float[Tensor, "N K 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "N K 3"]:
    """Coefficients of the colours after the scene is rotated."""
    degree = round(sh.shape[1] ** 0.5) - 1
    if degree == 0:
        return sh
    return torch.einsum("kl,nlc->nkc", sh_rotation(rotation, degree).to(sh), sh)


def placed(splats: Splats, world_from_head: Float[Tensor, "4 4"]) -> Splats:
    """The splats in the world: the similarity is in means, `warps` and SH; quaternions and log-scales stay.

    Raises:
        ValueError: the pose shears or mirrors.
    """
    linear, rotation = world_from_head[:3, :3], rotation_of(world_from_head.detach())
    warps = linear.expand(len(splats), 3, 3) if splats.warps is None else linear @ splats.warps
    means = transform_points(world_from_head, splats.means)
    return replace(splats, means=means, warps=warps, sh=rotated_sh(splats.sh, rotation))
