"""Splats in another world frame: a similarity changes means, quaternions, scales and SH coefficients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.geometry import similarity_scale, transform_points
from gs_reg.rotations import quat_multiply, rotmat_to_quat
from gs_reg.sh import sh_basis
from gs_reg.types import Splats


def sh_rotation(rotation: Float[Tensor, "3 3"], degree: int) -> Float[Tensor, "K K"]:
    """The matrix M (float64) that rotates SH coefficients with a scene: Y(d) M = Y(R^T d) for every direction d.

    Least squares over more directions than coefficients, instead of recursion formulas; exact to 1e-14.
    """
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(4 * (degree + 1) ** 2, 3, dtype=torch.float64, generator=generator), dim=-1)
    rotated = directions @ rotation.double().cpu()
    return torch.linalg.lstsq(sh_basis(directions, degree), sh_basis(rotated, degree)).solution


def transform_splats(matrix: Float[Tensor, "4 4"], splats: Splats) -> Splats:
    """The splats after a similarity of the world, computed in double precision; extras are kept as they are.

    Raises:
        ValueError: the matrix is sheared or mirrored.
    """
    m = matrix.double().to(splats.means.device)
    scale = similarity_scale(m)
    means = transform_points(m, splats.means.double())
    log_scales = splats.log_scales.double() + m.new_tensor(scale).log()
    quats, sh = splats.quats, splats.sh
    rotation = m[:3, :3] / scale
    # without a rotation, quaternions and SH keep their bits
    if not torch.allclose(rotation, torch.eye(3).to(m), rtol=0, atol=1e-9):
        quats = quat_multiply(rotmat_to_quat(rotation).expand(len(splats), 4), quats.double())
        sh_matrix = sh_rotation(rotation, splats.sh_degree).to(m)
        sh = torch.einsum("kl,nlc->nkc", sh_matrix, sh.double())
    return Splats(
        means.to(splats.means),
        quats.to(splats.quats),
        log_scales.to(splats.log_scales),
        splats.opacity_logits,
        sh.to(splats.sh),
        splats.extra,
    )


def flip_axes(signs: tuple[int, int, int], splats: Splats) -> Splats:
    """The splats with two axes negated (a rotation by 180 degrees about the third).

    Only signs change, so it is exact and its own inverse. `signs` are 1 or -1 for x, y, z; exactly two are -1.
    """
    axes = splats.means.new_tensor(signs)
    degree = splats.sh_degree
    sh_signs = (
        sh_rotation(torch.diag(torch.tensor(signs, dtype=torch.float64)), degree).diagonal().round().to(splats.sh)
    )
    quat_signs = torch.cat([axes.new_ones(1), axes * axes.prod()])
    return Splats(
        splats.means * axes,
        splats.quats * quat_signs,
        splats.log_scales,
        splats.opacity_logits,
        splats.sh * sh_signs[:, None],
        splats.extra,
    )
