"""What goes in and out of the label field: maps of parts in pictures, labels of Gaussians, and the decision."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.diffusion.word_maps import exclusive
from gs_reg.errors import InputError, did_you_mean, reading
from gs_reg.io.atomic import atomic_path

BACKGROUND = "background"


@dataclass(frozen=True)
class PartMaps:
    """What a teacher says of L parts in C views of one size."""

    names: tuple[str, ...]
    """Of the parts, small ones first, without the background."""
    maps: Float[Tensor, "C L H W"]
    """0 to 1, as the teacher says, before parts exclude each other."""
    weights: Float[Tensor, "C L"]
    """Confidence from 0 to 1; 0 = it says nothing of this part in this view."""

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int | slice | Tensor) -> PartMaps:
        """Of some of the views."""
        if isinstance(index, int):
            start = range(len(self))[index]
            index = slice(start, start + 1)
        return PartMaps(self.names, self.maps[index], self.weights[index])

    def shares(self, alphas: Float[Tensor, "C H W"]) -> Float[Tensor, "C D H W"]:
        """Of the background, which comes first, and of the parts in each pixel; they sum to 1.

        All of a pixel is background where the picture's alpha is below one half.
        """
        shares = exclusive(self.maps)
        solid = (alphas >= 0.5)[:, None]
        return torch.cat([torch.where(solid, shares[:, :1], 1.0), shares[:, 1:] * solid], 1)

    def save(self, path: str | Path) -> None:
        """As npz, the maps in 8 bits."""
        maps = (self.maps * 255).round().byte().cpu().numpy()
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, names=np.array(self.names), maps=maps, weights=self.weights.cpu().numpy())

    @classmethod
    def load(cls, path: str | Path) -> PartMaps:
        """Raises InputError: no such file, or not one of save()."""
        with reading(path):
            if not zipfile.is_zipfile(path):
                open(path, "rb").close()  # the system's own words where there is no such file
                raise InputError(f"{path}: expected part maps as npz, got another kind of file")
            with np.load(path, allow_pickle=False) as data:
                names, maps, weights = tuple(map(str, data["names"])), data["maps"], data["weights"]
        if maps.ndim != 4 or maps.dtype != np.uint8 or (len(maps), len(names)) != weights.shape:
            raise InputError(f"{path}: expected maps [C, {len(names)}, H, W] of 8 bits and weights [C, {len(names)}]")
        if maps.shape[1] != len(names) or not np.isfinite(weights).all():
            raise InputError(f"{path}: expected one map a part and finite weights, got {maps.shape[1]} maps")
        return cls(names, torch.from_numpy(maps).float() / 255, torch.from_numpy(weights).float())


@dataclass(frozen=True)
class LabelField:
    """Labels of N Gaussians that vary with the direction they are seen from: D sums of spherical harmonics each."""

    names: tuple[str, ...]
    """Of the D labels, the background first."""
    sh: Float[Tensor, "N K D"]
    """Without a bias and not clamped, unlike colour."""
    seen: Float[Tensor, "N"]
    """Sum of the blending weights over the pixels of all views that the labels come from."""


@dataclass(frozen=True)
class Decision:
    """Which part each Gaussian belongs to: the one answer for the edit set, for prior removal and for masks."""

    names: tuple[str, ...]
    """Of the D labels, the background first."""
    ids: Int[Tensor, "N"]
    """Rows of `names`; 0 = background."""
    probabilities: Float[Tensor, "N D"]
    """Of the labels, after neighbours had their say."""
    softness: Float[Tensor, "N"]
    """How undecided a Gaussian is and how much its label varies with the view, 0 = not at all."""

    def part(self, name: str) -> Bool[Tensor, "N"]:
        """The Gaussians of a part.

        Raises:
            InputError: no part has this name; offers the nearest one.
        """
        known = self.names[1:]
        if name not in known:
            offer = did_you_mean(name, known)
            raise InputError(f"part {name!r}: expected one of {', '.join(known) or 'none'}{offer}")
        return self.ids == self.names.index(name)
