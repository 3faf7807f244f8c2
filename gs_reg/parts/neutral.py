"""Prior removal (RoMaP): the part loses its colour, so that the old look does not hold the edit back."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats

Neutral = Literal["grey", "white", "black"]
VALUES: dict[Neutral, float] = {"grey": 0.5, "white": 1.0, "black": 0.0}


def remove_prior(splats: Splats, chosen: Bool[Tensor, "N"], neutral: Neutral = "grey") -> Splats:
    """The splats with the chosen ones in a neutral colour, the same from all sides."""
    plain = torch.zeros_like(splats.sh)
    plain[:, 0] = rgb_to_sh(torch.full_like(plain[:, 0], VALUES[neutral]))
    return replace(splats, sh=torch.where(chosen[:, None, None], plain, splats.sh))
