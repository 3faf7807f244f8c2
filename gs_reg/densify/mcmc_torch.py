"""3DGS-MCMC (Kheradmand et al. 2024) in plain torch, for devices on which gsplat's kernels do not run."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.edit import Edit
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Splats

MAX_COPIES = 51
"""Size of gsplat's table of binomials (N_MAX there)."""
GROWTH = 1.05
"""Factor of growth in number at each refinement."""


def mcmc_edit_torch(splats: Splats, cap_max: int | None, min_opacity: float, scaler: float) -> Edit:
    """One step: relocates dead Gaussians, adds new ones up to `cap_max` (None = neither), then adds noise to all means.

    A Gaussian is dead at an opacity of at most `min_opacity`. Uses torch's global generator; see `seeded_rng`.
    """
    means, quats = splats.means, splats.quats
    if cap_max is None:
        return Edit(patch={"means": means + scaler * _position_noise(quats, splats.log_scales, splats.opacity_logits)})
    logits, log_scales = splats.opacity_logits.clone(), splats.log_scales.clone()
    rows = torch.arange(len(splats), device=means.device)
    # relocated, new and copied Gaussians: their old moments no longer fit
    fresh = torch.zeros_like(rows, dtype=torch.bool)
    dead = logits.sigmoid() <= min_opacity
    if dead.any() and not dead.all():
        alive = (~dead).nonzero()[:, 0]
        sources = alive[torch.multinomial(logits[alive].sigmoid(), int(dead.sum()), replacement=True)]
        _relocate(sources, logits, log_scales, min_opacity)
        rows[dead], logits[dead], log_scales[dead] = sources, logits[sources], log_scales[sources]
        fresh[dead] = fresh[sources] = True
    added = min(cap_max, int(GROWTH * len(splats))) - len(splats)
    if added > 0:
        sources = torch.multinomial(logits.sigmoid(), added, replacement=True)
        _relocate(sources, logits, log_scales, min_opacity)
        rows, fresh = torch.cat([rows, rows[sources]]), torch.cat([fresh, torch.ones_like(sources, dtype=torch.bool)])
        logits, log_scales = torch.cat([logits, logits[sources]]), torch.cat([log_scales, log_scales[sources]])
    moved = means[rows] + scaler * _position_noise(quats[rows], log_scales, logits)
    return Edit(rows, fresh, {"means": moved, "log_scales": log_scales, "opacity_logits": logits})


def _relocate(
    sources: Int[Tensor, "M"], logits: Float[Tensor, "N"], log_scales: Float[Tensor, "N 3"], min_opacity: float
) -> None:
    """Sets opacity and scale of the sources, in place, to those that they share with their copies."""
    counts = torch.bincount(sources)[sources] + 1
    opacities, factors = compute_relocation(logits[sources].sigmoid(), counts)
    log_scales[sources] += factors.log()[:, None]
    logits[sources] = opacities.clamp(min_opacity, 1 - torch.finfo(opacities.dtype).eps).logit()


def compute_relocation(
    opacities: Float[Tensor, "M"], counts: Int[Tensor, "M"]
) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Opacity of each of `counts` coincident copies that together look like one Gaussian, and the factor on the scale.

    Equation 9 of the paper, with its inner sum over i in closed form, which leaves one sum over k. In double precision:
    the alternating sum cancels. Counts above MAX_COPIES are taken as MAX_COPIES, as in gsplat.
    """
    counts = counts.clamp(1, MAX_COPIES)
    each = 1 - (1 - opacities.double()) ** (1 / counts)
    k = torch.arange(MAX_COPIES, device=opacities.device)
    table = torch.tensor([[math.comb(n, j + 1) for j in range(MAX_COPIES)] for n in range(MAX_COPIES + 1)])
    signs = 1 - 2 * (k % 2)
    terms = table.to(opacities.device).double()[counts] * signs * each[:, None] ** (k + 1) / (k + 1).double().sqrt()
    return each.to(opacities), (opacities / terms.sum(1)).to(opacities)


def _position_noise(
    quats: Float[Tensor, "N 4"], log_scales: Float[Tensor, "N 3"], logits: Float[Tensor, "N"]
) -> Float[Tensor, "N 3"]:
    """Noise with the covariance's shape, switched off for opaque Gaussians by a steep sigmoid (section 3.2)."""
    R = quat_to_rotmat(quats)
    gate = (-100 * (logits.sigmoid() - 0.005)).sigmoid()
    noise = torch.randn_like(log_scales) * gate[:, None]
    along = (2 * log_scales).exp() * torch.einsum("nji,nj->ni", R, noise)
    return torch.einsum("nij,nj->ni", R, along)
