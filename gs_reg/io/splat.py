"""The .splat file of web viewers: 32 bytes a splat, view-independent colour, no header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.ply import FLAT_SCALE, finite_rows
from gs_reg.sh import rgb_to_sh, sh_to_rgb
from gs_reg.types import Splats

ROW = np.dtype([("xyz", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
OPACITY_EDGE = 1 / 1024
"""Opacities 0 and 1 have no finite logit: they are clamped by this much on reading, and are written back as the same
byte."""


def load_splat(path: str | Path) -> Splats:
    """Splats of degree 0 from a .splat file.

    Raises:
        InputError: the size is no multiple of 32 bytes, or the numbers cannot be splats.
    """
    path = Path(path)
    size = path.stat().st_size
    if size == 0 or size % ROW.itemsize:
        raise InputError(
            f"{path}: expected whole rows of {ROW.itemsize} bytes, got {size} bytes: truncated, or no .splat file"
        )
    table = np.fromfile(path, dtype=ROW)
    if not (np.isfinite(table["xyz"]).all(1) & (table["scale"] >= 0).all(1)).mean() > 0.5:
        raise InputError(f"{path}: positions and sizes are no sensible numbers: not a .splat file")
    rgba = torch.from_numpy(table["rgba"].astype(np.float32) / 255)
    return finite_rows(
        Splats(
            means=torch.from_numpy(table["xyz"].copy()),
            quats=torch.from_numpy((table["quat"].astype(np.float32) - 128) / 128),
            log_scales=torch.from_numpy(table["scale"].copy()).clamp_min(FLAT_SCALE).log(),
            opacity_logits=torch.logit(rgba[:, 3].clamp(OPACITY_EDGE, 1 - OPACITY_EDGE)),
            sh=rgb_to_sh(rgba[:, None, :3]),
        ),
        path,
    )


def save_splat(path: str | Path, splats: Splats) -> None:
    """Writes the rows in their order; colours are rounded to 8 bits and SH degrees above 0 are left out.

    Raises:
        InputError: there are no splats.
    """
    splats = finite_rows(splats.detach().to("cpu", torch.float32), Path(path))
    if len(splats) == 0:
        raise InputError(f"{path}: this format needs at least one splat; write .ply for an empty scene")
    rgba = torch.cat([sh_to_rgb(splats.sh[:, 0]), splats.opacities[:, None]], dim=1)
    quats = torch.nn.functional.normalize(splats.quats, dim=1)
    table = np.empty(len(splats), dtype=ROW)
    table["xyz"], table["scale"] = splats.means.numpy(), splats.scales.numpy()
    table["rgba"] = (rgba * 255).round().clamp(0, 255).byte().numpy()
    table["quat"] = (quats * 128 + 128).round().clamp(0, 255).byte().numpy()
    with atomic_path(path) as temporary:
        temporary.write_bytes(table.data)
