"""Optical flow that the user brings: FOLDER/A__B.npy, A and B the photos' names (photos/names.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Views

from ..arrays import read_array
from ..photos.names import PhotoFiles, without_ending

LAYOUT = (
    "expected FOLDER/A__B.npy for photos A and B (names without endings, with folders where they need them), [H, W, 2] "
    "in pixels from A towards B, or [H, W, 3] with a third channel of 0 where there is no match"
)


class FileFlow:
    """Flow from A__B.npy, at the sizes of the photos in use.

    `names` are the whole names of all photos of the data set, by those in use.

    Raises:
        InputError: no folder; when called, a missing or unfit file.
    """

    def __init__(self, folder: Path | None, names: Mapping[str, str] | None = None):
        if folder is None or not folder.is_dir():
            raise InputError(f"--flow.source files: {folder or 'no --flow.path'}: no folder of flow files; {LAYOUT}")
        self._folder, self._files = folder, PhotoFiles(names or {})
        self.about: Mapping[str, str] = {"source": "files", "what": f"flow files in {folder}"}

    def __call__(self, a: Views, b: Views) -> Float[Tensor, "H W 2"]:
        path = self._files.find_pair(a.names[0], b.names[0], self._folder, ".npy")
        if path is None:
            usual = f"{without_ending(a.names[0])}__{without_ending(b.names[0])}.npy"
            raise InputError(f"{self._folder / usual}: no such flow file; {LAYOUT}")
        flow = read_array(path)
        size = tuple(a.photos.shape[1:3])
        if flow.dtype.kind not in "fiu" or flow.ndim != 3 or flow.shape[:2] != size or flow.shape[2] not in (2, 3):
            got = f"{list(flow.shape)} {flow.dtype}"
            raise InputError(
                f"{path}: expected [{size[0]}, {size[1]}, 2 or 3] numbers, as {a.names[0]} is in use, got {got}"
            )
        values = torch.from_numpy(flow[..., :2].astype(np.float32))
        known = torch.isfinite(values).all(-1)
        if flow.shape[2] == 3:
            known &= torch.from_numpy(flow[..., 2] > 0)
        if not known.any():
            raise InputError(f"{path}: no pixel with a match (finite values, third channel above 0): mend or remove it")
        sides = torch.tensor([side for view in (a, b) for side in view.photos.shape[1:3]])
        if values[known].abs().max() > 2 * sides.max():
            raise InputError(
                f"{path}: flow of {values[known].abs().max():.3g} pixels, far beyond the picture: mark pixels without "
                "a match by NaN, or by 0 in a third channel"
            )
        return torch.where(known[..., None], values, torch.nan)
