"""Masks as picture files, and pictures as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gs_reg.io.atomic import atomic_path


def save_mask(path: Path, mask: Bool[Tensor, "H W"]) -> None:
    """White where True."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255).save(temporary, format="PNG")


def as_bytes(picture: Float[Tensor, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return (picture.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
