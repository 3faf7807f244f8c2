"""Which place of a prior's mesh each landmark of a detector means, found on renders of the prior's own head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.types import ExpressionPrior
from gs_reg.types import Cameras

SAMPLES = 150_000
CELL = 6
"""Side in pixels of the cells in which near samples hide far ones."""
BEHIND = 0.05
"""Of canonical units: samples so far behind the nearest of their cell are hidden."""
SPREAD = 0.03
"""Of canonical units: landmarks whose places on different renders differ by more are not used."""

Detect = Callable[[int], Float[Tensor, "L 2"] | None]
"""Pixels of the landmarks on the render of a camera; None where no face is found."""


@dataclass(frozen=True)
class Anchors:
    """A place on the mesh for each landmark; weight 0 where the renders do not agree on one."""

    triangle: Int[Tensor, "L"]
    barycentric: Float[Tensor, "L 3"]
    weight: Float[Tensor, "L"]

    def on(self, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "L 3"]:
        """The places on a posed mesh."""
        return (vertices[faces[self.triangle].long()] * self.barycentric[..., None]).sum(1)


def find_anchors(
    prior: ExpressionPrior,
    ident: Float[Tensor, "I"] | None,
    cameras: Cameras,
    detect: Detect,
    world_from_canonical: Float[Tensor, "4 4"] | None = None,
) -> Anchors:
    """Places of the landmarks on the neutral mesh, from renders by these cameras.

    Raises:
        InputError: the prior is no mesh, or a face is found on fewer than half of the renders.
    """
    sample = prior.surface(ident, SAMPLES, 0)
    if sample.triangles is None or sample.barycentric is None:
        raise InputError(f"prior {prior.name}: it has no mesh that landmarks could be found on")
    matrix = torch.eye(4) if world_from_canonical is None else world_from_canonical
    found: list[Tensor] = []
    for i in range(len(cameras)):
        pixels = detect(i)
        if pixels is not None:
            found.append(nearest_visible(sample.points, cameras[i].moved(matrix), pixels))
    if 2 * len(found) <= len(cameras):
        raise InputError(
            f"prior {prior.name}: a face was found on {len(found)} of {len(cameras)} renders of its own head"
        )
    rows = torch.stack(found)  # [renders, L]
    places = sample.points[rows]
    # the medoid: the place whose summed distance to the others' is smallest
    distances = (places[:, None] - places[None]).norm(dim=-1)
    best = distances.sum(1).argmin(0)
    columns = torch.arange(rows.shape[1])
    chosen = rows[best, columns]
    spread = distances[best, :, columns].median(1).values
    return Anchors(sample.triangles[chosen], sample.barycentric[chosen], (spread < SPREAD).float())


def nearest_visible(points: Float[Tensor, "n 3"], camera: Cameras, pixels: Float[Tensor, "L 2"]) -> Int[Tensor, "L"]:
    """Rows of the visible points that project nearest to the pixels."""
    matrix = camera.viewmats[0].float()
    in_camera = points @ matrix[:3, :3].T + matrix[:3, 3]
    depth = in_camera[:, 2]
    unit = float(matrix[:3, :3].det().abs()) ** (1 / 3)
    xy = in_camera[:, :2] / depth[:, None].clamp_min(1e-9) * camera.Ks[0, [0, 1], [0, 1]] + camera.Ks[0, :2, 2]
    inside = (depth > 0) & (xy >= 0).all(1) & (xy[:, 0] < camera.width) & (xy[:, 1] < camera.height)
    rows = inside.nonzero()[:, 0]
    cells = (xy[rows] / CELL).long()
    cell = cells[:, 1] * (camera.width // CELL + 1) + cells[:, 0]
    nearest = torch.full((int(cell.max()) + 1,), torch.inf).scatter_reduce_(0, cell, depth[rows], "amin")
    rows = rows[depth[rows] <= nearest[cell] + BEHIND * unit]
    return rows[torch.cdist(pixels.float(), xy[rows]).argmin(1)]
