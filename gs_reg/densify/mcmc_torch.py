"""3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024) in plain torch, for where gsplat's kernels
do not run."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.edit import Edit
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Splats

MAX_COPIES = 51
GROWTH = 1.05


def mcmc_edit_torch(splats: Splats, cap_max: int | None, min_opacity: float, rate: float) -> Edit:
    """One step: unless `cap_max` is None, the faint are relocated to opaque ones and the number grows by a twentieth,
    to `cap_max` at most; then noise is added to all centres.

    Where a Gaussian gets copies, it and they take opacity and scale of `shared`. Draws from torch's global generator.
    """
    means, quats = splats.means, splats.quats
    if cap_max is None:
        return Edit(patch={"means": means + rate * _noise(quats, splats.log_scales, splats.opacity_logits)})
    logits, log_scales = splats.opacity_logits.clone(), splats.log_scales.clone()
    rows = torch.arange(len(splats), device=means.device)
    fresh = torch.zeros_like(rows, dtype=torch.bool)
    dead = logits.sigmoid() <= min_opacity
    if dead.any() and not dead.all():
        alive = (~dead).nonzero()[:, 0]
        sources = alive[torch.multinomial(logits[alive].sigmoid(), int(dead.sum()), replacement=True)]
        _share(sources, logits, log_scales, min_opacity)
        rows[dead], logits[dead], log_scales[dead] = sources, logits[sources], log_scales[sources]
        fresh[dead] = fresh[sources] = True
    added = min(cap_max, int(GROWTH * len(splats))) - len(splats)
    if added > 0:
        sources = torch.multinomial(logits.sigmoid(), added, replacement=True)
        _share(sources, logits, log_scales, min_opacity)
        rows, fresh = torch.cat([rows, rows[sources]]), torch.cat([fresh, torch.ones_like(sources, dtype=torch.bool)])
        logits, log_scales = torch.cat([logits, logits[sources]]), torch.cat([log_scales, log_scales[sources]])
    moved = means[rows] + rate * _noise(quats[rows], log_scales, logits)
    return Edit(rows, fresh, {"means": moved, "log_scales": log_scales, "opacity_logits": logits})


def _share(
    sources: Int[Tensor, "M"], logits: Float[Tensor, "N"], log_scales: Float[Tensor, "N 3"], min_opacity: float
) -> None:
    """Writes into the rows of the sources what `shared` says for them with all their copies."""
    counts = torch.bincount(sources)[sources] + 1
    opacities, factors = shared(logits[sources].sigmoid(), counts)
    log_scales[sources] += factors.log()[:, None]
    logits[sources] = opacities.clamp(min_opacity, 1 - torch.finfo(opacities.dtype).eps).logit()


def shared(opacities: Float[Tensor, "M"], counts: Int[Tensor, "M"]) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Opacity of each of `counts` coincident copies that together look like one Gaussian, and the factor of their size
    (equation 9; the inner sums over i have been carried out, which leaves one over k)."""
    counts = counts.clamp(1, MAX_COPIES)
    each = 1 - (1 - opacities.double()) ** (1 / counts)
    k = torch.arange(MAX_COPIES, device=opacities.device)
    table = torch.tensor([[math.comb(n, j + 1) for j in range(MAX_COPIES)] for n in range(MAX_COPIES + 1)])
    signs = 1 - 2 * (k % 2)
    terms = table.to(opacities.device).double()[counts] * signs * each[:, None] ** (k + 1) / (k + 1).double().sqrt()
    return each.to(opacities), (opacities / terms.sum(1)).to(opacities)


def _noise(
    quats: Float[Tensor, "N 4"], log_scales: Float[Tensor, "N 3"], logits: Float[Tensor, "N"]
) -> Float[Tensor, "N 3"]:
    """Noise of the Gaussians' own shape, which moves the faint and not the opaque (section 3.2)."""
    R = quat_to_rotmat(quats)
    gate = (-100 * (logits.sigmoid() - 0.005)).sigmoid()
    noise = torch.randn_like(log_scales) * gate[:, None]
    along = (2 * log_scales).exp() * torch.einsum("nji,nj->ni", R, noise)
    return torch.einsum("nij,nj->ni", R, along)
