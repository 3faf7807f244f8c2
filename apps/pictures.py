"""PNG and array files of tensors, written atomically."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gs_reg.io.atomic import atomic_path

from .colormap import colorize, depth_range


def save_picture(path: Path, image: Float[Tensor, "H W 3"]) -> None:
    """An image in [0, 1] as 8-bit PNG."""
    from PIL import Image

    data = (image.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(data).save(temporary, format="PNG")


def save_depth(stem: Path, depth: Float[Tensor, "H W"]) -> None:
    """Depth as a coloured PNG to look at and as float32 .npy to compute with."""
    save_picture(stem.with_name(stem.name + ".png"), colorize(depth.detach(), *depth_range(depth)))
    with atomic_path(stem.with_name(stem.name + ".npy")) as temporary, open(temporary, "wb") as file:
        np.save(file, depth.detach().cpu().numpy().astype(np.float32))
