"""Pools of points and codes from which the steps of distillation draw, with what the prior says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.fields.latents import nearest_rows
from gs_reg.priors.types import ExpressionPrior, SurfaceSample

CANDIDATES = 4
"""Times as many points of the surface as are kept."""
CHUNK = 8
"""Codes for which the prior is asked at once."""
Spread = tuple[tuple[float, float | None], ...]
SPREAD_SHEET: Spread = ((0.6, 0.002), (0.4, 0.01))
"""Shares of points, and how far from the surface they are spread, of a prior that is a mesh."""
SPREAD_NEAR: Spread = ((0.7, 0.001), (0.3, 0.004))
"""Nearer to the mesh, for what is fitted once: what is said of points far from lips or lashes is not smooth."""
SPREAD_SPACE: Spread = ((0.5, 0.01), (0.25, 0.05), (0.25, None))
"""Of a prior that knows all of space; None = anywhere in the box."""


@runtime_checkable
class Sheet(Protocol):
    """A prior whose points in space follow a surface, and can be attached to it once for many codes."""

    def attach(self, x: Tensor, ident: Tensor | None = None, part: Tensor | None = None) -> object: ...
    def posed(self, attachment: object, z: Tensor, ident: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Pool:
    points: SurfaceSample
    """Canonical points in space, with the normal and part of the point of the surface that they come from."""
    rows: Int[Tensor, "P"]
    """Row of the cloud whose latent vector a point has."""
    codes: Float[Tensor, "M D"]
    offsets: Float[Tensor, "P M 3"] | None
    """How far each code moves each point; None for a prior that knows only the way back."""


@dataclass(frozen=True)
class Subject:
    """Whom the field is distilled for."""

    prior: ExpressionPrior
    cloud: SurfaceSample
    codes: Float[Tensor, "T D"]
    """Tracked codes of the training frames."""
    ident: Float[Tensor, "I"] | None = None

    def range(self) -> tuple[Float[Tensor, "D"], Float[Tensor, "D"]]:
        """Bounds of codes: the prior's, and further where tracked codes go further."""
        lo, hi = (bound.to(self.codes) for bound in (self.prior.lo, self.prior.hi))
        return torch.minimum(lo, self.codes.amin(0)), torch.maximum(hi, self.codes.amax(0))


@torch.no_grad()
def make_pool(subject: Subject, points: int, codes: int, seed: int) -> Pool:
    """A pool that depends on the seed alone."""
    random = torch.Generator().manual_seed(seed)
    drawn = draw_codes(subject, codes, random)
    sample, rows = draw_points(subject, points, drawn[:CHUNK], seed, random)
    return Pool(sample, rows, drawn, offsets_of(subject, sample, drawn))


def draw_points(
    subject: Subject,
    count: int,
    codes: Float[Tensor, "M D"],
    seed: int,
    random: torch.Generator,
    sheet: Spread = SPREAD_SHEET,
) -> tuple[SurfaceSample, Int[Tensor, "P"]]:
    """Points in space, more of them where these codes move the surface more, and the rows of their latent vectors."""
    spread = sheet if isinstance(subject.prior, Sheet) else SPREAD_SPACE
    sample = _spread(subject, _surface(subject, count, codes, seed, random), spread, random)
    return sample, nearest_rows(subject.cloud, sample)


def draw_codes(subject: Subject, count: int, random: torch.Generator) -> Float[Tensor, "M D"]:
    """Tracked codes (40 %), mixes of two (20 %), tracked ones with noise (20 %), and a few channels of the prior at
    random (20 %), so that channels which the capture hardly uses are learned too."""
    tracked = subject.codes.cpu()
    lo, hi = (bound.cpu() for bound in subject.range())
    two = tracked[torch.randint(len(tracked), (2, count), generator=random)]
    share, noise = torch.rand(count, 1, generator=random), torch.randn(count, tracked.shape[1], generator=random)
    mixed = share * two[0] + (1 - share) * two[1]
    noisy = two[0] + 0.1 * tracked.std(0, correction=0) * noise
    anywhere = lo + (hi - lo) * torch.rand(count, tracked.shape[1], generator=random)
    few = torch.rand(count, tracked.shape[1], generator=random) < (3 / tracked.shape[1])
    neutral = subject.prior.neutral.cpu().to(tracked)
    kinds = torch.stack([two[0], two[0], mixed, noisy, torch.where(few, anywhere, neutral)])
    codes = kinds[torch.arange(count) % len(kinds), torch.arange(count)]
    return codes.clamp(lo, hi).to(subject.codes)


def offsets_of(subject: Subject, sample: SurfaceSample, codes: Float[Tensor, "M D"]) -> Float[Tensor, "P M 3"] | None:
    """How far the prior moves points under codes; None if it knows only the way back."""
    prior, ident, x = subject.prior, subject.ident, sample.points
    out = x.new_empty(len(x), len(codes), 3)
    attachment = prior.attach(x, ident, sample.parts) if isinstance(prior, Sheet) else None
    for start in range(0, len(codes), CHUNK):
        some = codes[start : start + CHUNK]
        if isinstance(prior, Sheet):
            moved = prior.posed(attachment, some, ident)
        else:
            each = (len(some), *[-1] * 2)
            moved = prior.forward(x.expand(each), some, ident, sample.parts.expand(each[:2]))
        if moved is None:
            return None
        out[:, start : start + CHUNK] = (moved - x).transpose(0, 1)
    return out


def _surface(
    subject: Subject, count: int, codes: Float[Tensor, "M D"], seed: int, random: torch.Generator
) -> SurfaceSample:
    """Points of the surface, more of them where it moves more and in small parts."""
    drawn = subject.prior.surface(subject.ident, CANDIDATES * count, seed)
    drawn = SurfaceSample(drawn.points, drawn.normals, drawn.parts).to(dtype=torch.float32)
    offsets = offsets_of(subject, drawn, codes)
    motion = torch.ones(len(drawn.points)) if offsets is None else offsets.square().sum(-1).mean(1).sqrt().cpu()
    weights = 0.3 + motion / motion.mean().clamp_min(torch.finfo(motion.dtype).tiny)
    parts = drawn.parts.cpu().long()
    weights = weights / torch.bincount(parts)[parts].sqrt()
    rows = torch.multinomial(weights, count, replacement=True, generator=random)
    return _rows(drawn, rows.to(drawn.parts.device))


def _spread(subject: Subject, sample: SurfaceSample, shares: Spread, random: torch.Generator) -> SurfaceSample:
    """The points moved off the surface; points anywhere in the box take the part and normal of the cloud next to it."""
    count, points = len(sample.points), sample.points
    kind = torch.rand(count, generator=random)
    noise = torch.randn(count, 3, generator=random).to(points)
    cloud = subject.cloud
    lo, hi = cloud.points.amin(0), cloud.points.amax(0)
    anywhere = lo + (hi - lo) * torch.rand(count, 3, generator=random).to(points)
    parts, normals, end = sample.parts, sample.normals, 0.0
    for share, spread in shares:
        chosen = ((kind >= end) & (kind < end + share)).to(points.device)
        end += share
        if spread is not None:
            points = torch.where(chosen[:, None], points + spread * noise, points)
            continue
        points = torch.where(chosen[:, None], anywhere, points)
        here = chosen.nonzero()[:, 0]
        one = replace(sample, points=points[here], normals=torch.zeros_like(points[here]), parts=parts[here] * 0)
        rows = nearest_rows(replace(cloud, parts=cloud.parts * 0, triangles=None, barycentric=None), one)
        parts = parts.index_copy(0, here, cloud.parts[rows].to(parts))
        normals = normals.index_copy(0, here, cloud.normals[rows].to(normals))
    return SurfaceSample(points, normals, parts)


def _rows(sample: SurfaceSample, rows: Int[Tensor, "n"]) -> SurfaceSample:
    return SurfaceSample(sample.points[rows], sample.normals[rows], sample.parts[rows])
