"""Points in the world from where several cameras see them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras

HUBER = 1.5
"""Errors beyond so many pixels count less."""
ROUNDS = 6


def triangulated(
    cameras: Cameras, pixels: Float[Tensor, "C L 2"], confidence: Float[Tensor, "C L"]
) -> tuple[Float[Tensor, "L 3"], Float[Tensor, "L"]]:
    """Points of least reprojection error, re-weighted against outliers, and that error in pixels (root mean square).

    Confidence 0 = not seen there. What fewer than two cameras see has an infinite error.
    """
    projection = (cameras.Ks @ cameras.viewmats[:, :3]).double()
    pixels, confidence = pixels.double(), confidence.double()
    # x (P2 . X) = P0 . X and y (P2 . X) = P1 . X: linear in X; divided by the depth, residuals are pixels
    rows = projection[:, None, :2] - pixels[..., None] * projection[:, None, 2:]
    weights = confidence.clone()
    points = pixels.new_zeros(pixels.shape[1], 3)
    error = torch.full_like(confidence, torch.inf)
    for _ in range(ROUNDS):
        scaled = rows * weights.sqrt()[..., None, None]
        A, b = scaled[..., :3], -scaled[..., 3]
        normal = torch.einsum("clki,clkj->lij", A, A)
        ridge = 1e-12 * normal.diagonal(dim1=-2, dim2=-1).amax(-1).clamp_min(1e-30)
        normal = normal + ridge[:, None, None] * torch.eye(3, dtype=normal.dtype)
        points = torch.linalg.solve(normal, torch.einsum("clki,clk->li", A, b))
        depth = points @ projection[:, 2, :3].T + projection[:, 2, 3]
        depth = depth.T.abs().clamp_min(1e-9)
        error = (torch.einsum("clki,li->clk", rows[..., :3], points) + rows[..., 3]).norm(dim=-1) / depth
        weights = confidence * (HUBER / error.clamp_min(HUBER)) / depth.square()
    robust = confidence * (HUBER / error.clamp_min(HUBER))
    mean = ((robust * error.square()).sum(0) / robust.sum(0).clamp_min(1e-12)).sqrt()
    seen = (confidence > 0).sum(0) >= 2
    return points.float(), torch.where(seen, mean, torch.inf).float()
