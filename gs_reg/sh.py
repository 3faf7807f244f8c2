"""Real spherical harmonics of degree 0 to 4, order and signs of 3D Gaussian splatting (degree 1 = -y, z, -x)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg import _ops

C0 = 0.28209479177387814


def sh_basis(directions: Float[Tensor, "*B 3"], degree: int) -> Float[Tensor, "*B K"]:
    """Values of the (degree + 1)^2 basis functions in unit directions; all but the first are 0 in the direction 0."""
    x, y, z = directions.unbind(-1)
    out = [torch.full_like(x, C0)]
    if degree > 0:
        out += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    xx, yy, zz = x * x, y * y, z * z
    if degree > 1:
        c = 1.0925484305920792
        out += [
            c * x * y,
            -c * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -c * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree > 2:
        a, b, c = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
        f = 4 * zz - xx - yy
        out += [-a * y * (3 * xx - yy), b * x * y * z, -c * y * f, 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy)]
        out += [-c * x * f, 1.445305721320277 * z * (xx - yy), -a * x * (xx - 3 * yy)]
    if degree > 3:
        w = xx + yy
        g, h = 6 * zz - w, 4 * zz - 3 * w
        out += [2.5033429417967046 * x * y * (xx - yy), -1.7701307697799304 * y * z * (3 * xx - yy)]
        out += [0.9461746957575601 * x * y * g, -0.6690465435572892 * y * z * h]
        out += [0.10578554691520431 * (8 * zz * zz - 24 * zz * w + 3 * w * w), -0.6690465435572892 * x * z * h]
        out += [0.47308734787878004 * (xx - yy) * g, -1.7701307697799304 * x * z * (xx - 3 * yy)]
        out += [0.6258357354491761 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy))]
    return torch.stack(out, dim=-1)


def sh_sums(
    sh: Float[Tensor, "N K D"],
    means: Float[Tensor, "N 3"],
    centers: Float[Tensor, "C 3"],
    degree: int,
    bias: float = 0.0,
    clamp: bool = False,
) -> Float[Tensor, "C N D"]:
    """bias + sum Y_k sh_k of every splat towards every camera centre, clamped at 0 or not; at the centre, of degree 0
    alone.

    Raises:
        ValueError: the coefficients do not reach `degree`.
    """
    check_degree(sh, degree)
    if _ops.is_native(sh, means, centers):
        return _ops.sh_channels(sh, means, centers, None, degree, bias, clamp)
    return sh_sums_reference(sh, means, centers, degree, bias, clamp)


def sh_sums_reference(
    sh: Float[Tensor, "N K D"],
    means: Float[Tensor, "N 3"],
    centers: Float[Tensor, "C 3"],
    degree: int,
    bias: float = 0.0,
    clamp: bool = False,
) -> Float[Tensor, "C N D"]:
    """sh_sums in plain torch. What is not finite gives NaN, and gradients of 0."""
    drawn = sh[:, : (degree + 1) ** 2]
    finite = drawn.flatten(1).isfinite().all(1)
    drawn = torch.where(finite[:, None, None], drawn, 0.0)
    if degree == 0:
        sums = (bias + C0 * drawn[:, 0]).expand(centers.shape[0], -1, -1)
    else:
        finite = finite & means.isfinite().all(1)
        means = torch.where(finite[:, None], means, 0.0)
        basis = sh_basis(F.normalize(means - centers[:, None], dim=-1), degree)
        sums = bias + torch.einsum("cnk,nkd->cnd", basis, drawn)
    return torch.where(finite[:, None], sums.clamp_min(0) if clamp else sums, torch.nan)


def sh_colors(
    sh: Float[Tensor, "N K D"], means: Float[Tensor, "N 3"], centers: Float[Tensor, "C 3"], degree: int
) -> Float[Tensor, "C N D"]:
    """Colour of every splat towards every camera centre: max(0, 0.5 + sum Y_k sh_k).

    Raises:
        ValueError: the coefficients do not reach `degree`.
    """
    return sh_sums(sh, means, centers, degree, bias=0.5, clamp=True)


def check_degree(sh: Float[Tensor, "N K D"], degree: int) -> None:
    """Raises ValueError where the coefficients are not those of whole degrees, or do not reach `degree`."""
    K = sh.shape[1]
    if K == 0 or math.isqrt(K) ** 2 != K:
        raise ValueError(f"sh: expected (degree + 1)^2 coefficients, such as 1, 4, 9 or 16, got [N, {K}, D]")
    most = min(4, math.isqrt(K) - 1)
    if degree > most:
        raise ValueError(f"sh_degree: expected at most {most} for [N, {K}, D], got {degree}")
    if degree < 0:
        raise ValueError(f"sh_degree: expected 0 to {most}, got {degree}")


def rgb_to_sh(rgb: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """Degree-0 coefficient of a colour."""
    return (rgb - 0.5) / C0


def sh_to_rgb(dc: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """Colour of a degree-0 coefficient, not clamped."""
    return 0.5 + C0 * dc
