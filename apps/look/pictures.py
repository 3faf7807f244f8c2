"""PNG and array files of tensors, written atomically."""

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
    """Depth as a coloured PNG to look at, in the colours of `like` where given, and as float32 .npy to compute with."""
    shown = depth_range(depth if like is None else like)
    save_picture(stem.with_name(stem.name + ".png"), colorize(depth.detach(), *shown))
    buffer = io.BytesIO()  # np.save into a file does not say why a write failed
    np.save(buffer, depth.detach().cpu().numpy().astype(np.float32))
    with atomic_path(stem.with_name(stem.name + ".npy")) as temporary:
        temporary.write_bytes(buffer.getvalue())
