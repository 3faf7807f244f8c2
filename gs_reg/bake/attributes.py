"""What of a Gaussian an expression changes, as 13 numbers that add up: offset, size, turn, opacity, colour."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.rotations import quat_multiply, quat_to_rotmat, rotmat_to_quat, rotvec_to_quat
from gs_reg.types import Splats

ATTRIBUTES = 13
PARTS = {"offset": slice(0, 3), "log_scale": slice(3, 6), "turn": slice(6, 9), "opacity": slice(9, 10)}
PARTS |= {"dc": slice(10, 13)}
STEPS = 6
"""Of Newton's method on rotations; heads turn their skin by less than a radian."""
FLOOR = 1e-2
"""Of the turn about the long axis of a needle, which its shape does not tell, over its other turns."""


def unbent(splats: Splats) -> Splats:
    """Splats without warps that cover nearly the same: axes turn and stretch with the warp, shear is left out.

    Unlike eigenvectors, axes never swap, so that small changes of a warp are small changes of the splat. Among all
    turns it takes that which carries the long axes best: sum of s_k^2 |W r_k - r'_k|^2 is least.
    """
    if splats.warps is None:
        return replace(splats, extra={})
    rotation, scales = quat_to_rotmat(splats.quats), splats.scales
    weights = (scales / scales.amax(1, keepdim=True)).square()
    bent = splats.warps @ rotation
    turned = _carried(bent * weights[:, None], rotation)
    # lengths along the new axes; of the whole covariance, so that no axis is drawn too thin
    along = (turned.mT @ bent * scales[:, None]).norm(dim=2)
    return replace(splats, quats=rotmat_to_quat(turned), log_scales=along.clamp_min(1e-30).log(), warps=None, extra={})


def _carried(target: Float[Tensor, "N 3 3"], start: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """The rotation R with the largest trace of R^T target, by Newton's method on the rotation vector."""
    rotation, eye = start, torch.eye(3).to(start)
    for _ in range(STEPS):
        a = rotation.mT @ target
        spin = torch.stack([a[:, 2, 1] - a[:, 1, 2], a[:, 0, 2] - a[:, 2, 0], a[:, 1, 0] - a[:, 0, 1]], dim=1)
        trace = a.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        hessian = (trace + FLOOR * trace.abs()) * eye - (a + a.mT) / 2
        step = torch.linalg.solve(hessian, spin[..., None])[..., 0]
        step = step / step.norm(dim=1, keepdim=True).clamp_min(1)  # far from the optimum the quadratic means nothing
        rotation = rotation @ quat_to_rotmat(rotvec_to_quat(step))
    return rotation


def deviations(splats: Splats, reference: Splats) -> Float[Tensor, "N 13"]:
    """What differs between two clouds of the same rows, both without warps."""
    return torch.cat(
        [
            splats.means - reference.means,
            splats.log_scales - reference.log_scales,
            _turns(splats.quats, reference.quats),
            (splats.opacity_logits - reference.opacity_logits)[:, None],
            splats.sh[:, 0] - reference.sh[:, 0],
        ],
        dim=1,
    )


def _turns(quats: Float[Tensor, "N 4"], reference: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3"]:
    """Rotation vectors from the reference, in the world's axes."""
    conjugate = reference / reference.square().sum(1, keepdim=True) * reference.new_tensor([1, -1, -1, -1])
    turn = quat_multiply(quats, conjugate)
    turn = torch.where(turn[:, :1] < 0, -turn, turn)
    length = turn[:, 1:].norm(dim=1, keepdim=True)
    angle = 2 * torch.atan2(length, turn[:, :1])
    return turn[:, 1:] * torch.where(length > 1e-7, angle / length.clamp_min(1e-7), 2 / turn[:, :1].clamp_min(1e-7))


def deviated(reference: Splats, by: Float[Tensor, "N 13"]) -> Splats:
    """The reference changed by deviations."""
    dc = reference.sh[:, :1] + by[:, None, PARTS["dc"]]
    return replace(
        reference,
        means=reference.means + by[:, PARTS["offset"]],
        log_scales=reference.log_scales + by[:, PARTS["log_scale"]],
        quats=quat_multiply(rotvec_to_quat(by[:, PARTS["turn"]]), reference.quats),
        opacity_logits=reference.opacity_logits + by[:, 9],
        sh=torch.cat([dc, reference.sh[:, 1:]], dim=1) if reference.sh.shape[1] > 1 else dc,
    )
