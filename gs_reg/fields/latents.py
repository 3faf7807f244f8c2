"""Latent vectors of a canonical cloud: how they start, and which of them a point in space has."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.priors.types import Part, SurfaceSample

NORMAL = 0.05
"""Weight of a unit normal beside positions in the distance to the cloud's points, in units."""
NOISE = 0.01
SHARED = {Part.SOCKET_LOWER: Part.EAR, Part.GUM_UPPER: Part.SCALP}
"""Parts that have the direction of another, which is far from them: 8 signs have 16 that differ in four or more."""


def first_latents(parts: Int[Tensor, "N"], size: int, seed: int) -> Float[Tensor, "N L"]:
    """A direction for each part, signs that differ in half of the entries or in all, and a little noise.

    The network can tell upper from lower lip from the first step on, where noise alone would have to grow apart.
    """
    order = 1 << max(size - 1, 1).bit_length()
    signs = torch.ones(1, 1)
    kinds = torch.tensor([SHARED.get(part, part) for part in Part])
    while len(signs) < max(order, (int(kinds.max()) + 2) // 2):
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    signs = torch.cat([signs, -signs])[kinds, :size] * 0.5
    noise = torch.randn(len(parts), size, generator=torch.Generator().manual_seed(seed))
    return signs.to(parts.device)[parts.long()] + NOISE * noise.to(parts.device)


def nearest_rows(cloud: SurfaceSample, queries: SurfaceSample) -> Int[Tensor, "n"]:
    """Row of the cloud's point of the same part that is nearest in position and normal; of any part if it has none."""
    from scipy.spatial import KDTree

    keys, asked = (_keys(sample) for sample in (cloud, queries))
    own, wanted = cloud.parts.cpu().numpy(), queries.parts.cpu().numpy()
    found = np.empty(len(asked), dtype=np.int64)
    for part in np.unique(wanted):
        mine = np.flatnonzero(wanted == part)
        rows = np.flatnonzero(own == part)
        rows = rows if len(rows) else np.arange(len(own))
        found[mine] = rows[KDTree(keys[rows]).query(asked[mine])[1]]
    return torch.from_numpy(found).to(cloud.points.device)


def _keys(sample: SurfaceSample) -> np.ndarray:
    return torch.cat([sample.points, NORMAL * sample.normals], dim=1).double().cpu().numpy()
