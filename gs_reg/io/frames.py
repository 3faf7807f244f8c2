"""Splats in another world frame: a similarity changes means, quaternions, scales and SH coefficients."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.geometry import similarity_scale, transform_points
from gs_reg.rotations import quat_multiply, rotmat_to_quat
from gs_reg.sh import sh_basis
from gs_reg.types import Splats

LEAST = 3
"""The smallest order that rules of Lebedev have."""


def sh_rotation(rotation: Float[Tensor, "3 3"], degree: int) -> Float[Tensor, "K K"]:
    """The matrix M (float64) that rotates SH coefficients with a scene: Y(d) M = Y(R^T d) for every direction d.

    The integral of Y(d)^T Y(R^T d) over the sphere, by a rule of Lebedev that is exact for such products, to 1e-13.
    Least squares by LAPACK gave other bits from call to call.
    """
    points, weights = _rule(degree)
    rows, rotated = sh_basis(points, degree), sh_basis(points @ rotation.double().cpu(), degree)
    return (weights[:, None] * rows).T @ rotated


@cache
def _rule(degree: int) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P"]]:
    """Directions and weights that integrate products of two functions of the degree."""
    from scipy.integrate import lebedev_rule

    points, weights = lebedev_rule(max(2 * degree + 1, LEAST))
    return torch.from_numpy(points.T.copy()), torch.from_numpy(weights)


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
