"""Clicks and boxes of one view in 3D, and what they look like from the other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import project, unproject
from gs_reg.render import render
from gs_reg.types import Cameras, Splats, Views

from .marks import Mark

SOLID = 0.5
"""Alpha from which on there is a surface."""
SAME_DEPTH = 0.03
"""Relative distance behind the surface at which a point still counts as visible."""
BOX_POINTS = 24
"""A side of the grid of points that stands for a box."""
SEEN_SHARE = 0.2
"""Of a box's points, that must be visible in a view for the box to be asked there."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What sam2 is asked of one part in one view."""

    points: Float[Tensor, "n 2"]
    """Pixels."""
    labels: Int[Tensor, "n"]
    """1 = the part, 0 = not."""
    box: Float[Tensor, "4"] | None = None

    def inputs(self) -> dict[str, Any]:
        """As the processor takes it: of one image and one object."""
        given: dict[str, Any] = {}
        if len(self.points):
            given["input_points"] = [[self.points.tolist()]]
            given["input_labels"] = [[self.labels.tolist()]]
        if self.box is not None:
            given["input_boxes"] = [[self.box.tolist()]]
        return given


class Scenery:
    """The splats as the views see them, drawn once."""

    def __init__(self, splats: Splats, cameras: Cameras, views: Sequence[str]):
        if len(views) != len(cameras):
            raise ValueError(f"views: expected {len(cameras)} names, got {len(views)}")
        self.splats, self.cameras, self.views = splats, cameras, tuple(views)

    @classmethod
    def drawn(cls, splats: Splats, views: Views) -> Scenery:
        """From views whose alphas and depths are known."""
        assert views.alphas is not None and views.depths is not None
        scenery = cls(splats, views.cameras, views.names)
        scenery.depths = views.depths * (views.alphas >= SOLID)
        return scenery

    @cached_property
    @torch.no_grad()
    def depths(self) -> Float[Tensor, "C H W"]:
        """Of the surface; 0 where there is none."""
        drawn = [render(self.splats, self.cameras[c]) for c in range(len(self.cameras))]
        return torch.cat([(d.expected_depths * (d.alphas >= SOLID))[..., 0] for d in drawn])

    def points(self, mark: Mark) -> Float[Tensor, "n 3"]:
        """The point under a click, the surface in a box of a view, or the centres of splats in a box in space.

        Raises:
            InputError: there is nothing.
        """
        if not mark.view:
            lower, upper = torch.tensor(mark.numbers).to(self.splats.means).chunk(2)
            inside = ((self.splats.means >= lower) & (self.splats.means <= upper)).all(1) & self.splats.finite
            found = self.splats.means[inside & (self.splats.opacities > 0.1)]
            if not len(found):
                raise InputError(f"click {mark}: no splat lies in the box")
            return found
        c = self.views.index(mark.view)
        xy = _pixels(mark, self.cameras.width, self.cameras.height).to(self.depths.device)
        rows, columns = xy[:, 1].long(), xy[:, 0].long()
        surface = unproject(self.cameras[c], self.depths[c][None])[0]
        hit = self.depths[c][rows, columns] > 0
        if not hit.any():
            raise InputError(f"click {mark}: there is no surface of the object")
        return surface[rows[hit], columns[hit]]

    def seen(self, points: Float[Tensor, "n 3"], c: int) -> Float[Tensor, "m 2"]:
        """Pixels of those points that a view sees."""
        xy, z = project(self.cameras[c], points)
        xy, z = xy[0], z[0]
        height, width = self.depths.shape[1:]
        inside = (z > 0) & (xy >= 0).all(1) & (xy[:, 0] < width) & (xy[:, 1] < height)
        xy, z = xy[inside], z[inside]
        depth = self.depths[c][xy[:, 1].long(), xy[:, 0].long()]
        return xy[(depth > 0) & (z <= (1 + SAME_DEPTH) * depth)]

    def questions(self, marks: Sequence[Mark], parts: Sequence[str]) -> list[list[Asked | None]]:
        """Of each view, of each part: its marks as the view sees them; None where it sees none that is wanted."""
        lifted = [(mark, self.points(mark)) for mark in marks]
        return [
            [self._asked([(m, p) for m, p in lifted if m.part == part], c) for part in parts]
            for c in range(len(self.cameras))
        ]

    def _asked(self, lifted: Sequence[tuple[Mark, Tensor]], c: int) -> Asked | None:
        points, labels, box = [], [], None
        for mark, places in lifted:
            xy = self.seen(places, c)
            if len(mark.numbers) == 2:
                points += xy.tolist()
                labels += [int(mark.wanted)] * len(xy)
            elif mark.wanted and len(xy) >= SEEN_SHARE * len(places):
                box = torch.cat([xy.amin(0), xy.amax(0)])
        if box is None and 1 not in labels:
            return None
        return Asked(torch.tensor(points).reshape(-1, 2), torch.tensor(labels, dtype=torch.long), box)


def _pixels(mark: Mark, width: int, height: int) -> Float[Tensor, "n 2"]:
    """The click, or a grid over the box.

    Raises:
        InputError: outside the view.
    """
    is_box, sides = len(mark.numbers) == 4, (width, height) * 2
    if not all(n >= 0 and (n < side or (is_box and n == side)) for n, side in zip(mark.numbers, sides, strict=False)):
        raise InputError(f"click {mark}: outside the view of {width} x {height} pixels")
    if len(mark.numbers) == 2:
        xy = torch.tensor([mark.numbers])
    else:
        x0, y0, x1, y1 = mark.numbers
        steps = (torch.arange(BOX_POINTS) + 0.5) / BOX_POINTS
        xy = torch.cartesian_prod(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0))
    return xy.minimum(torch.tensor([width - 1.0, height - 1.0]))
