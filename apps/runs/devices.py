"""Where a command computes."""

from __future__ import annotations

import torch

from gs_reg.errors import MissingPart


def pick_device(name: str) -> torch.device:
    """The device of --device; auto is CUDA where it is usable.

    Raises:
        MissingPart: --device cuda where CUDA is not usable.
    """
    usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise MissingPart("--device cuda: torch finds no usable GPU here; run `gs-reg doctor`, or use --device cpu")
    return torch.device("cuda" if usable and name != "cpu" else "cpu")
