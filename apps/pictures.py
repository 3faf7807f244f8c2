"""PNG files of tensors, written atomically."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from gs_reg.io.atomic import atomic_path


def save_picture(path: Path, image: Float[Tensor, "H W 3"]) -> None:
    """An image in [0, 1] as 8-bit PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    data = (image.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(data).save(temporary, format="PNG")
