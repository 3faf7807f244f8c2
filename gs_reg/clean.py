"""Rules that find splats which spoil a scene: floaters, splats that nobody sees, what lies outside of a box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.neighbors import nearest
from gs_reg.types import Splats

NEIGHBORS = 8
"""Of an isolated splat so many are far away: a clump of that many floaters still counts as isolated."""


@dataclass(frozen=True)
class CleanRules:
    """What is removed; 0 switches a rule off, as does a box that is None."""

    min_opacity: float = 0.005
    """Splats of a lower opacity are removed: the rasterizer draws none below 1/255."""
    max_size: float = 0.5
    """Splats are removed whose longest axis (a standard deviation) is above this share of the scene's radius and that
    are half transparent: veils before the cameras. A scene's sky and walls are opaque."""
    isolated: float = 10.0
    """Splats are removed whose 8 nearest neighbours are farther than so many of their own longest axes, and than so
    many times the scene's median distance."""
    crop: tuple[float, float, float, float, float, float] | None = None
    """Box x0 y0 z0 x1 y1 z1 in the file's coordinates: splats with their centre outside are removed."""


def removals(splats: Splats, rules: CleanRules) -> dict[str, Bool[Tensor, "N"]]:
    """For each rule which rows it removes: crop, opacity, size, isolated, each among those that the earlier ones leave.

    Raises:
        InputError: the corners of the box are in the wrong order.
    """
    left = torch.ones(len(splats), dtype=torch.bool, device=splats.means.device)
    found = {}
    for name, rule in (("crop", _outside), ("opacity", _faint), ("size", _veils), ("isolated", _isolated)):
        rows = left.nonzero()[:, 0]
        removed = torch.zeros_like(left)
        removed[rows[rule(splats.rows(rows), rules)]] = True
        found[name] = removed
        left = left & ~removed
    return found


def cleaned(splats: Splats, found: Mapping[str, Bool[Tensor, "N"]]) -> Splats:
    """The rows that no rule removes, in their order."""
    return splats.rows(~torch.stack(list(found.values())).any(0))


def with_degree(splats: Splats, degree: int | None) -> Splats:
    """The splats without spherical harmonics above a degree; None keeps all."""
    if degree is None or degree >= splats.sh_degree:
        return splats
    return replace(splats, sh=splats.sh[:, : (degree + 1) ** 2].contiguous())


def scene_radius(means: Float[Tensor, "N 3"]) -> float:
    """Median distance from the median position: a few far splats do not change it."""
    return float((means - means.median(0).values).norm(dim=1).median()) if len(means) else 0.0


def _outside(splats: Splats, rules: CleanRules) -> Bool[Tensor, "N"]:
    if rules.crop is None:
        return torch.zeros(len(splats), dtype=torch.bool, device=splats.means.device)
    low, high = splats.means.new_tensor(rules.crop[:3]), splats.means.new_tensor(rules.crop[3:])
    if not (low < high).all():
        raise InputError(f"--crop: expected x0 y0 z0 below x1 y1 z1, got {' '.join(f'{x:g}' for x in rules.crop)}")
    return ~((splats.means >= low) & (splats.means <= high)).all(1)


def _faint(splats: Splats, rules: CleanRules) -> Bool[Tensor, "N"]:
    return splats.opacities < rules.min_opacity


def _veils(splats: Splats, rules: CleanRules) -> Bool[Tensor, "N"]:
    limit = rules.max_size * scene_radius(splats.means) or torch.inf
    return (splats.scales.amax(1) > limit) & (splats.opacities < 0.5)


def _isolated(splats: Splats, rules: CleanRules) -> Bool[Tensor, "N"]:
    if rules.isolated == 0 or len(splats) <= NEIGHBORS:
        return torch.zeros(len(splats), dtype=torch.bool, device=splats.means.device)
    gap = nearest(splats.means.float(), NEIGHBORS)[1][:, -1].sqrt()
    return (gap > rules.isolated * splats.scales.amax(1)) & (gap > rules.isolated * gap.median())
