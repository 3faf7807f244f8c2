"""Pictures of a scene's views that a run keeps for the edits that take its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gs_reg import __version__
from gs_reg.errors import reading
from gs_reg.io.atomic import atomic_path
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats, Views

from ..runs.progress import say

RENDERS = "renders.safetensors"
MOST_BYTES = 256 << 20
"""Of pictures that are kept: drawing them again takes seconds."""


def key_of(
    splats: Splats,
    cameras: Cameras,
    names: Sequence[str],
    background: Float[Tensor, "3"],
    config: RenderConfig,
    device: torch.device,
) -> str:
    """A digest of everything on which the bits of the pictures depend."""
    digest = hashlib.sha256(
        repr((__version__, device.type, tuple(names), cameras.width, cameras.height, config)).encode()
    )
    drawn = (splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh)
    for tensor in (*drawn, cameras.viewmats, cameras.Ks, background):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def keep_renders(folder: Path, key: str, views: Views) -> None:
    """Writes images, alphas and depths bit for bit; nothing where they would be too large."""
    assert views.alphas is not None and views.depths is not None
    tensors = {"images": views.photos, "alphas": views.alphas, "depths": views.depths}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > MOST_BYTES:
        say(f"  pictures of the views would take {size / 1e6:.0f} MB: each edit draws them itself")
        return
    with atomic_path(folder / RENDERS) as temporary:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(plain, temporary, {"key": key, "views": "\n".join(views.names)})


def kept_renders(folder: Path, key: str, cameras: Cameras, names: Sequence[str], device: torch.device) -> Views | None:
    """Those of the views that see something; None where there are none, or of other splats or views.

    Raises:
        InputError: a broken file.
    """
    path = folder / RENDERS
    if not path.is_file():
        return None
    with reading(path), safe_open(path, "pt") as file:
        notes = file.metadata() or {}
        if notes.get("key") != key:
            return None
        images, alphas, depths = (file.get_tensor(name).to(device) for name in ("images", "alphas", "depths"))
        seen = tuple(notes["views"].split("\n"))
        rows = torch.tensor([list(names).index(name) for name in seen])
        return Views(cameras[rows].to(device), images, seen, alphas=alphas, depths=depths)
