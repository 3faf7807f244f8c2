"""Which pixels of a photo show what part of the head, by the prior's surface as tracked: masks of the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from gs_reg.priors import ExpressionPrior
from gs_reg.priors.regions import GUMS, LASHES, SOCKET
from gs_reg.priors.types import Part, SurfaceSample
from gs_reg.types import Cameras

POINTS = 40_000
"""Samples of the surface that are projected."""
CELL = 4
"""Side in pixels of the cells in which the nearest sample hides others."""
BEHIND = 0.06
"""Of canonical units: samples so far behind the nearest one of their cell are hidden."""
REACH = 0.02
"""Of canonical units: pixels within it of a sample of the face are face."""
MOUTH = (Part.LIP_UPPER, Part.LIP_LOWER, Part.TOOTH_UPPER, Part.TOOTH_LOWER, *GUMS, *SOCKET)
EYES = (Part.LID_UPPER, Part.LID_LOWER, Part.EYE, *LASHES)
FACE = (Part.SKIN, *MOUTH, *EYES)
NOT_HEAD = (Part.NECK, Part.OTHER)
NAMES = ("full", "head", "face", "mouth", "eyes")


@dataclass(frozen=True)
class Surface:
    """Samples of a person's prior, posed frame by frame."""

    prior: ExpressionPrior
    ident: Float[Tensor, "I"] | None
    sample: SurfaceSample

    @classmethod
    def of(cls, prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, count: int = POINTS) -> Surface:
        return cls(prior, ident, prior.surface(ident, count, 0))

    @torch.no_grad()
    def posed(self, code: Float[Tensor, "D"]) -> Float[Tensor, "n 3"]:
        """Where the samples are at a code, in canonical units."""
        sample = self.sample
        if sample.triangles is not None and sample.barycentric is not None:
            mesh = self.prior.posed_mesh(code, self.ident)
            if mesh is not None:
                vertices, faces = mesh
                corners = vertices[faces[sample.triangles.long()].long()]
                return (corners * sample.barycentric[..., None]).sum(1)
        moved = self.prior.forward(sample.points, code, self.ident, sample.parts)
        assert moved is not None
        return moved


def region_masks(
    surface: Surface,
    code: Float[Tensor, "D"],
    world_from_canonical: Float[Tensor, "4 4"],
    cameras: Cameras,
    alphas: Float[Tensor, "C H W"],
) -> Mapping[str, Bool[Tensor, "C H W"]]:
    """Masks of each name in NAMES: full is the capture's foreground; head leaves out neck and shoulders.

    A pixel is of the part whose visible sample is nearest in the image; hair beyond the scalp is head.
    """
    points = surface.posed(code.cpu())
    matrix = cameras.viewmats.cpu().float() @ world_from_canonical.cpu().float()
    in_camera = torch.einsum("cij,nj->cni", matrix[:, :3, :3], points) + matrix[:, None, :3, 3]
    unit = float(matrix[0, :3, :3].det().abs()) ** (1 / 3)
    parts = surface.sample.parts.cpu()
    out: dict[str, list[Any]] = {name: [] for name in NAMES}
    for i in range(len(cameras)):
        foreground = alphas[i].cpu().numpy() > 0.5
        labels = visible_labels(in_camera[i], parts, cameras.Ks[i].cpu(), foreground.shape, BEHIND * unit)
        depth = float(in_camera[i, :, 2].median())
        reach = max(1.0, REACH * unit * float(cameras.Ks[i, 1, 1]) / max(depth, 1e-6))
        for name, mask in _masks(labels, foreground, reach).items():
            out[name].append(torch.from_numpy(mask))
    return {name: torch.stack(masks) for name, masks in out.items()}


def visible_labels(
    in_camera: Float[Tensor, "n 3"],
    parts: Int[Tensor, "n"],
    K: Float[Tensor, "3 3"],
    shape: tuple[int, ...],
    gap: float,
) -> Int[np.ndarray, "H W"]:
    """Part of the sample that each pixel shows, -1 where it shows none."""
    height, width = shape
    depth = in_camera[:, 2]
    xy = in_camera[:, :2] / depth[:, None].clamp_min(1e-6) * K[[0, 1], [0, 1]] + K[:2, 2]
    column, row = xy.floor().long().unbind(1)
    inside = (depth > 1e-6) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    x, y, z, part = (values[inside].numpy() for values in (column, row, depth, parts))
    cells = (y // CELL) * (width // CELL + 1) + x // CELL
    nearest = np.full((height // CELL + 1) * (width // CELL + 1), np.inf, dtype=z.dtype)
    np.minimum.at(nearest, cells, z)
    shown = np.flatnonzero(z <= nearest[cells] + gap)
    shown = shown[np.argsort(-z[shown], kind="stable")]  # the nearest is written last
    labels = np.full((height, width), -1, dtype=np.int64)
    labels[y[shown], x[shown]] = part[shown]
    return labels


def _masks(labels: Int[np.ndarray, "H W"], foreground: Bool[np.ndarray, "H W"], reach: float) -> dict[str, np.ndarray]:
    known = labels >= 0
    if not known.any():
        nothing = np.zeros_like(foreground)
        return {name: foreground if name == "full" else nothing for name in NAMES}
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    assert nearest is not None
    spread = labels[nearest[0], nearest[1]]
    near = _distance_to(known) <= reach
    head = foreground & ~np.isin(spread, NOT_HEAD)
    return {
        "full": foreground,
        "head": head,
        "face": head & near & np.isin(spread, FACE),
        "mouth": head & _within(labels, MOUTH, reach),
        "eyes": head & _within(labels, EYES, reach),
    }


def _within(labels: Int[np.ndarray, "H W"], parts: tuple[Part, ...], reach: float) -> np.ndarray:
    chosen = np.isin(labels, parts)
    if not chosen.any():
        return chosen
    return _distance_to(chosen) <= reach


def _distance_to(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Pixels from each pixel to the nearest of the mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask))
