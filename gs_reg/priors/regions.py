"""The regions that errors and scores are told apart by."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gs_reg.priors.types import Part

LASHES = (Part.LASH_UPPER, Part.LASH_LOWER)
SOCKET = (Part.SOCKET_UPPER, Part.SOCKET_LOWER)
GUMS = (Part.TONGUE_GUM, Part.GUM_UPPER)
REGIONS: Mapping[str, tuple[Part, ...]] = MappingProxyType(
    {
        "lips": (Part.LIP_UPPER, Part.LIP_LOWER),
        "lids": (Part.LID_UPPER, Part.LID_LOWER),
        "mouth": (Part.TOOTH_UPPER, Part.TOOTH_LOWER, *GUMS, *SOCKET),
        "rest": (Part.SKIN, Part.EYE, *LASHES, Part.SCALP, Part.EAR, Part.NECK, Part.OTHER),
    }
)


def region_masks(parts: Int[Tensor, "*B"]) -> dict[str, Bool[Tensor, "*B"]]:
    """Which points lie in which region; each in just one."""
    return {name: torch.isin(parts, torch.tensor(members).to(parts)) for name, members in REGIONS.items()}
