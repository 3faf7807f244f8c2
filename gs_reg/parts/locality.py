"""Did the edit stay where it should? Rows, pixels outside the mask, and agreement between views."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.types import Splats


def rows_changed(before: Splats, after: Splats, owned: Bool[Tensor, "N"]) -> int:
    """How many frozen rows differ in some bit; `after` begins with them, as PartEdit has them."""
    wanted = before.detach().rows(~owned)
    found = after.detach().to("cpu").rows(slice(len(wanted)))
    differs = torch.zeros(len(wanted), dtype=torch.bool)
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        differs |= (_bits(getattr(wanted, name)) != _bits(getattr(found, name))).any(1)
    return int(differs.sum())


def _bits(column: Float[Tensor, "N *S"]) -> Int[Tensor, "N D"]:
    """-0 is not 0, and NaN is NaN."""
    return column.contiguous().view(torch.int32).reshape(len(column), -1)
