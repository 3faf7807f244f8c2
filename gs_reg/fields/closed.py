"""A linear field of bumps, found in closed form: bumps where what is left is largest, weights by least squares."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.fields.bumps import heights
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.pool import CHUNK, SPREAD_NEAR, Subject, draw_codes, draw_points, offsets_of
from gs_reg.priors import region_masks

LEVELS = ((0.4, 0.02), (0.16, 0.08), (0.07, 0.25), (0.035, 0.4), (0.018, 0.25))
"""Radii of the bumps in units (100 to 4.5 mm), and the shares of them; the last is as fine as the meshes of lids."""
RIDGE = 1e-5
"""Of the squared weights in mm, beside the mean squared error in mm."""
REACH = 2 / 3
"""Of a channel's range, where the prior is asked: eyeballs turn, and the chord to here is near to the whole arc."""
FINE = 4.0
"""How many times an error counts on lips and lids, whose shapes are fine and seen best."""
PLACES = 8192
"""Points among which the centres are looked for."""


@torch.no_grad()
def solve(field: CoarseField, latents: Float[Tensor, "N L"], subject: Subject, points: int, seed: int) -> float:
    """Places the field's bumps and finds their weights; returns the root mean square of what is left, in mm.

    The motion of every channel counts as much as its range is wide, at points on and about the surface, more of them
    where it moves more.

    Raises:
        ValueError: the field has no bumps, or the prior knows only the way back.
    """
    random = torch.Generator().manual_seed(seed)
    sample, rows = draw_points(subject, points, draw_codes(subject, CHUNK, random), seed, random, SPREAD_NEAR)
    ends = _ends(subject)
    offsets = offsets_of(subject, sample, subject.prior.neutral.to(ends) + ends.diag())
    if field.bumps is None or offsets is None:
        raise ValueError(f"{subject.prior.name}: a closed form needs a field of bumps and a prior that knows the way")
    wanted = (offsets / ends.abs()[:, None] * 250).flatten(1).double()
    x, latent = sample.points, latents[rows]
    stress = torch.where(_fine(sample.parts), FINE, 1.0).to(wanted)[:, None]
    left, heads = wanted, []
    weights = matrix = wanted.new_zeros(0)
    values = wanted.new_zeros(len(x), 0)
    some = torch.randperm(len(x), generator=random)[:PLACES].to(x.device)
    counts = _counts(len(field.bumps.radii))
    for radius, count in counts:
        chosen = some[_farthest(x[some] / radius, latent[some], (stress * left)[some].norm(dim=1).float(), count)]
        heads.append((x[chosen], latent[chosen], x.new_full((count,), radius)))
        values = torch.cat([values, heights(x, latent, *heads[-1]).double()], dim=1)
        weighted = stress.square() * values
        matrix = weighted.T @ values
        matrix.diagonal().add_(RIDGE * len(x))
        weights = torch.cholesky_solve(weighted.T @ wanted, torch.linalg.cholesky(matrix))
        left = wanted - values @ weights
    field.bumps.place(*(torch.cat(columns) for columns in zip(*heads, strict=True)))
    _store(field, weights, matrix, ends)
    return float(left.square().sum(1).mean().sqrt())


def _store(field: CoarseField, weights: Float[Tensor, "M O"], matrix: Float[Tensor, "M M"], ends: Tensor) -> None:
    """The weights as features and basis; the features are the main directions of all motion, of which few matter."""
    assert field.bumps is not None
    main = torch.linalg.eigh(weights.T @ matrix @ weights).eigenvectors.flip(1)[:, : field.width]
    field.bumps.mix.zero_()
    field.bumps.mix[:, : main.shape[1]] = (weights @ main / 250).to(field.bumps.mix)
    basis = main.unflatten(0, (-1, 3)) * (ends.sign() * field.code_scale).double()[:, None, None]
    field.basis.zero_()
    field.basis[..., : main.shape[1]] = basis.to(field.basis)


def _fine(parts: Int[Tensor, "P"]) -> Bool[Tensor, "P"]:
    masks = region_masks(parts)
    return masks["lips"] | masks["lids"]


def _ends(subject: Subject) -> Float[Tensor, "D"]:
    """How far from the neutral code the prior is asked, for each channel: to the farther side."""
    lo, hi = (bound - subject.prior.neutral.to(bound) for bound in subject.range())
    return REACH * torch.where(hi >= -lo, hi, lo)


def _counts(total: int) -> list[tuple[float, int]]:
    """Bumps of each radius; the first level has what rounding leaves."""
    counts = [int(share * total) for _, share in LEVELS]
    counts[0] += total - sum(counts)
    return [(radius, count) for (radius, _), count in zip(LEVELS, counts, strict=True) if count]


def _farthest(x: Float[Tensor, "n 3"], latent: Float[Tensor, "n L"], left: Float[Tensor, "n"], count: int) -> list[int]:
    """Rows where most is left, each weighted by its distance from those before, in radii and within its part."""
    keys, gaps, chosen = torch.cat([x, 2 * latent], dim=1), torch.ones_like(left), []
    for _ in range(count):
        chosen.append(int((left * gaps).argmax()))
        gaps = torch.minimum(gaps, 1 - torch.exp(-0.5 * (keys - keys[chosen[-1]]).square().sum(1)))
    return chosen
