"""Unseen regions: pixels without splats in held-out views, and the number of photos that see each training pixel."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.data_tools.depth.visibility import seeing_views
from gs_reg.errors import InputError, reading
from gs_reg.init.fill import HOLE
from gs_reg.io import checkpoint
from gs_reg.io.atomic import atomic_path
from gs_reg.render import RenderConfig, render
from gs_reg.types import Splats, Views

from ..look.pictures import save_picture
from ..runs.folder import Run

__all__ = ["HOLE", "save_unseen", "save_view_counts", "without_filled"]


def without_filled(run: Run, splats: Splats) -> Splats:
    """The splats without those that fill unseen regions; the newest checkpoint has the flags, a PLY cannot."""
    newest = checkpoint.latest(run.checkpoints)
    filled = None if newest is None else checkpoint.load(newest).model.get("filled")
    if filled is None or newest is None:
        return splats
    with reading(newest):
        if filled.dtype != torch.bool or filled.ndim != 1:
            raise InputError(f"{newest}: filled: expected flags [N], got {list(filled.shape)} {filled.dtype}")
        return splats if len(filled) != len(splats) else splats.rows(~filled)


def save_unseen(run: Run, stem: str, view: Views, unfilled: Splats, config: RenderConfig) -> float:
    """Writes masks/<stem>_unseen.png, white where alpha is below HOLE; returns the share of such pixels."""
    with torch.no_grad():
        unseen = render(unfilled, view.cameras, config).alphas[0, ..., 0] < HOLE
    _save_grey(run.path / "masks" / f"{stem}_unseen.png", unseen.float())
    return float(unseen.float().mean())


def save_view_counts(
    run: Run, training: tuple[Views, ...], depths: Mapping[str, Float[Tensor, "_ _"]], stems: Mapping[str, str]
) -> dict[str, float]:
    """Writes masks/<stem>_views.npy and .png: the number of training photos that see each pixel's surface.

    The PNG is white where all photos do. Returns the share of pixels that only their own photo sees, by name.
    """
    names = [view.names[0] for view in training]
    shares = {}
    for name, count in zip(names, seeing_views(training, [depths[name] for name in names]), strict=True):
        _save_grey(run.path / "masks" / f"{stems[name]}_views.png", count / len(names))
        _save_counts(run.path / "masks" / f"{stems[name]}_views.npy", count)
        shares[name] = float((count == 1).float().mean())
    return shares


def _save_grey(path: Path, values: Float[Tensor, "H W"]) -> None:
    save_picture(path, values[..., None].expand(-1, -1, 3))


def _save_counts(path: Path, count: Int[Tensor, "H W"]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, count.numpy().astype(np.uint16))
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
