"""Expression priors of heads: one Protocol, one file a prior."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.regions import REGIONS, region_masks
from gs_reg.priors.types import UNIT_M, ExpressionPrior, HeadPose, Part, SurfaceSample, Track

__all__ = [
    "ARKIT",
    "PRIORS",
    "REGIONS",
    "UNIT_M",
    "ExpressionPrior",
    "HeadPose",
    "Part",
    "SurfaceSample",
    "Track",
    "arkit_matrix",
    "check_codes",
    "load_prior",
    "region_masks",
]

PRIORS = ("anny", "ict", "flame2020", "flame2023", "mononphm", "toy")


def load_prior(name: str, folder: Path | None = None) -> ExpressionPrior:
    """A prior by its name; `folder` is where its files are: anny and toy need none.

    Raises:
        InputError: there is no such prior, or its files are missing or not what they should be.
        MissingPart: the package anny is not installed.
    """
    if name == "toy":
        from gs_reg.priors.toy import ToyPrior

        return ToyPrior()
    if name == "anny":
        from gs_reg.priors.anny import anny_prior

        return anny_prior()
    if name not in PRIORS:
        raise InputError(f"prior: expected one of {', '.join(PRIORS)}, got {name!r}")
    if folder is None:
        raise InputError(f"prior {name}: its files are yours to bring: name their folder")
    if name == "ict":
        from gs_reg.priors.ict import ict_prior

        return ict_prior(folder)
    if name == "mononphm":
        from gs_reg.priors.mononphm import mononphm_prior

        return mononphm_prior(folder)
    from gs_reg.priors.flame import flame_prior

    return flame_prior(folder, int(name.removeprefix("flame")))


def arkit_matrix(name: str, channels: tuple[str, ...]) -> Float[Tensor, "52 D"] | None:
    """By which ARKit's coefficients become codes of a prior with these channels, without the prior's files; None if
    that needs a learned bridge."""
    if name == "anny":
        return torch.tensor([[float(unit == channel) for channel in channels] for unit in ARKIT])
    if name == "ict":
        from gs_reg.priors.ict import from_units

        return from_units(channels)
    return None


def check_codes(track: Track, prior: ExpressionPrior) -> None:
    """Refuses codes of another prior, or of another year's FLAME, whose codes have the same length.

    Raises:
        InputError: says whose codes they are and whose they should be.
    """
    if track.prior != prior.name:
        raise InputError(f"track: its codes are those of {track.prior}, while the prior is {prior.name}: track again")
    if track.codes.shape[1] != prior.dim:
        raise InputError(f"track: expected codes of {prior.dim} numbers for {prior.name}, got {track.codes.shape[1]}")
