"""Images and depth maps as PNG and .npy files, written atomically."""

from __future__ import annotations

import io
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


def save_depth(stem: Path, depth: Float[Tensor, "H W"], like: Float[Tensor, "H W"] | None = None) -> None:
    """Writes <stem>.png with depth as colours, and <stem>.npy with depth as float32.

    The colours span the depths of `like`, if it is given, so that two depth maps can be compared.
    """
    near, far = depth_range(depth if like is None else like)
    save_picture(stem.with_name(stem.name + ".png"), colorize(depth.detach(), near, far))
    buffer = io.BytesIO()  # np.save to a file hides why writing failed, for instance that the disk is full
    np.save(buffer, depth.detach().cpu().numpy().astype(np.float32))
    with atomic_path(stem.with_name(stem.name + ".npy")) as temporary:
        temporary.write_bytes(buffer.getvalue())
