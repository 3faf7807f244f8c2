"""Gates of a distilled field: its errors by region, for codes seen, held out and jittered, and its folds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.latents import nearest_rows
from gs_reg.fields.pool import Subject, offsets_of
from gs_reg.priors import region_masks
from gs_reg.priors.types import SurfaceSample

POINTS, OF_REGION = 3000, 600
"""Points of the surface, and at least as many of each region, if it is there."""
CANDIDATES = 24_000
CODES, CYCLE_CODES, CYCLE_POINTS = 32, 4, 1500
"""Codes of each kind; those and the points that are also carried back by the prior."""
JITTER = 0.1
"""Of the standard deviation of each channel."""


@dataclass(frozen=True)
class Limits:
    """Largest errors in mm, and largest share of points that fold."""

    mean: float = 0.10
    p95: float = 0.30
    p95_lips: float = 0.30
    folds: float = 0.0


BACKWARD = Limits(0.30, 1.0, 1.5, 0.001)
"""For priors that know only the way back, which are networks themselves."""


@dataclass(frozen=True)
class Errors:
    """Lengths in mm."""

    mean: float
    p95: float
    max: float


ErrorTable = Mapping[str, Mapping[str, Errors]]
"""By kind of codes (seen, held_out, jittered), then by region or "all"."""


@dataclass(frozen=True)
class DistillReport:
    prior: str
    linear: bool
    limits: Limits
    direct: ErrorTable | None
    """Between where field and prior put points of the surface; None for a prior that knows only the way back."""
    cycle: ErrorTable
    """Between points and what the prior takes them back to, after the field has moved them."""
    folds: Mapping[str, float]
    """Share of points with det J <= 0, by kind of codes."""

    @property
    def errors(self) -> ErrorTable:
        """Those that the limits are for: direct where the prior knows the way, else of the cycle."""
        return self.cycle if self.direct is None else self.direct

    @property
    def failures(self) -> tuple[str, ...]:
        """What is over its limit, in words."""
        found = []
        for codes, regions in self.errors.items():
            name = codes.replace("_", "-")
            for region, limit in (("all", self.limits.p95), ("lips", self.limits.p95_lips)):
                if region in regions and not regions[region].p95 <= limit:
                    found.append(
                        f"{name} codes: 95 % of {region} within {regions[region].p95:.2f} mm, limit {limit} mm"
                    )
            if not regions["all"].mean <= self.limits.mean:
                found.append(f"{name} codes: mean error {regions['all'].mean:.2f} mm, limit {self.limits.mean} mm")
        for codes, share in self.folds.items():
            if not share <= self.limits.folds:
                name = codes.replace("_", "-")
                found.append(f"{name} codes: {share:.2%} of points fold, limit {self.limits.folds:.2%}")
        return tuple(found)

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_json(self) -> dict:
        return {"passed": self.passed, "failures": self.failures, **asdict(self), "errors": _plain(self.errors)}

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        lines = [f"{'mm':<10} {'region':<8} {'mean':>7} {'95 %':>7} {'max':>7}"]
        for codes, regions in self.errors.items():
            for region, e in regions.items():
                lines.append(f"{codes:<10} {region:<8} {e.mean:>7.3f} {e.p95:>7.3f} {e.max:>7.3f}")
            lines.append(f"{codes:<10} points that fold: {self.folds[codes]:.3%}")
        return "\n".join([*lines, *(f"failed: {failure}" for failure in self.failures)])


@torch.no_grad()
def gates(
    field: CoarseField,
    latents: Float[Tensor, "N L"],
    subject: Subject,
    held_out: Float[Tensor, "H D"] | None = None,
    seed: int = 0,
) -> DistillReport:
    """Measures a distilled field on fresh points of the prior's surface."""
    sample, even = _points(subject, seed)
    rows = nearest_rows(subject.cloud, sample)
    prepared = field.prepare(sample.points, latents[rows], None)
    regions = {"all": even, **{name: mask for name, mask in region_masks(sample.parts).items() if bool(mask.any())}}
    direct, cycle, folds = {}, {}, {}
    for name, codes in _kinds(subject, held_out, seed).items():
        moved = [field.at(prepared, z) for z in codes]
        offsets = torch.stack([offset for offset, _ in moved])
        truth = offsets_of(subject, sample, codes)
        if truth is not None:
            direct[name] = _table(offsets - truth.transpose(0, 1), regions)
        some = _some(len(sample.points), seed).to(even.device)
        cycle[name] = _table(_cycle(subject, sample, offsets, codes, some), {k: m[some] for k, m in regions.items()})
        dets = [torch.linalg.det(jacobian) for _, jacobian in moved if jacobian is not None]
        folds[name] = float((torch.stack(dets) <= 0).double().mean())
    limits = Limits() if direct else BACKWARD
    return DistillReport(subject.prior.name, field.linear, limits, direct or None, cycle, folds)


def _points(subject: Subject, seed: int) -> tuple[SurfaceSample, Bool[Tensor, "n"]]:
    """Points even by area, which are marked, and more of each region that has few."""
    drawn = subject.prior.surface(subject.ident, CANDIDATES, seed + 7_919)
    kept = torch.zeros(CANDIDATES, dtype=torch.bool, device=drawn.parts.device)
    kept[:POINTS] = True
    even = kept.clone()
    for mask in region_masks(drawn.parts).values():
        kept[mask.nonzero()[:OF_REGION, 0]] = True
    sample = SurfaceSample(drawn.points[kept], drawn.normals[kept], drawn.parts[kept])
    return sample.to(dtype=torch.float32), even[kept]


def _kinds(subject: Subject, held_out: Float[Tensor, "H D"] | None, seed: int) -> dict[str, Float[Tensor, "M D"]]:
    seen = _thinned(subject.codes)
    noise = torch.randn(seen.shape, generator=torch.Generator().manual_seed(seed)).to(seen)
    lo, hi = subject.range()
    kinds = {"seen": seen, "held_out": None if held_out is None else _thinned(held_out)}
    kinds["jittered"] = (seen + JITTER * subject.codes.std(0, correction=0) * noise).clamp(lo, hi)
    return {name: codes for name, codes in kinds.items() if codes is not None}


def _thinned(codes: Float[Tensor, "T D"]) -> Float[Tensor, "M D"]:
    count = min(CODES, len(codes))
    return codes[torch.linspace(0, len(codes) - 1, count).round().long()]


def _some(count: int, seed: int) -> Int[Tensor, "m"]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:CYCLE_POINTS]


def _cycle(
    subject: Subject, sample: SurfaceSample, offsets: Float[Tensor, "M n 3"], codes: Tensor, some: Int[Tensor, "m"]
) -> Float[Tensor, "c m 3"]:
    """How far some points are from where they were, after the field and back by the prior."""
    chosen = torch.linspace(0, len(codes) - 1, min(CYCLE_CODES, len(codes))).round().long()
    x, parts = sample.points[some], sample.parts[some]
    posed = x + offsets[chosen][:, some]
    back = subject.prior.backward(posed, codes[chosen], subject.ident, parts.expand(len(chosen), -1))
    if back is None:
        raise ValueError(f"{subject.prior.name}: knows no way back, by which its errors are measured")
    return back[0] - x


def _table(errors: Float[Tensor, "M n 3"], regions: Mapping[str, Bool[Tensor, "n"]]) -> dict[str, Errors]:
    """Statistics in mm by region."""
    table = {}
    for name, mask in regions.items():
        values = (errors[:, mask].norm(dim=-1) * 250).flatten().double()
        if len(values):
            p95 = values.sort().values[int(0.95 * (len(values) - 1))]
            table[name] = Errors(float(values.mean()), float(p95), float(values.max()))
    return table


def _plain(table: ErrorTable) -> dict[str, dict[str, dict[str, float]]]:
    return {codes: {name: asdict(e) for name, e in regions.items()} for codes, regions in table.items()}
