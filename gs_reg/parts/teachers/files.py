"""The teacher `masks:DIR`: masks that the user drew or made elsewhere."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.types import Cameras

from ..prompts import PartPrompt
from ..types import PartMaps
from .base import TeacherSetting, named_views, prepared


class MaskFiles:
    """DIR/<view>/<part>.png: grey from black (not the part) to white, or a palette whose entry 0 is not the part.

    Blanks in a part's name may be underscores. A view or part without a file has weight 0, which is "not known".
    """

    def __init__(self, folder: Path, setting: TeacherSetting):
        self.folder, self.setting = folder, setting
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        if not self.folder.is_dir():
            raise InputError(f"masks:{self.folder}: no such folder; expected <view>/<part>.png in it")
        found = {view: _files(self.folder / view) for view in self.setting.views}
        if not any(found.values()):
            first, part = (*self.setting.views, "VIEW")[0], prompt.parts[0]
            raise InputError(f"masks:{self.folder}: no mask of any view; expected for example {first}/{part}.png")
        there = sorted({name for names in found.values() for name in names})
        for part in prompt.parts:
            if not {part, part.replace(" ", "_")} & set(there):
                raise InputError(f"masks:{self.folder}: no view has {part}.png; there are {', '.join(there)}")
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt, views = prepared(self.prompt), named_views(self.setting, len(pictures))
        height, width = pictures.shape[1:3]
        maps = torch.zeros(len(views), len(prompt.parts), height, width)
        weights = torch.zeros(len(views), len(prompt.parts))
        for c, view in enumerate(views):
            files = _files(self.folder / view)
            for row, part in enumerate(prompt.parts):
                path = files.get(part) or files.get(part.replace(" ", "_"))
                if path is not None:
                    maps[c, row], weights[c, row] = read_mask(path, width, height), 1
        self.notes = {"masks": int(weights.sum()), "views_without_masks": int((weights.sum(1) == 0).sum())}
        return PartMaps(prompt.parts, maps.to(pictures), weights.to(pictures))

    def close(self) -> None:
        pass


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.png"))}


def read_mask(path: Path, width: int, height: int) -> Float[Tensor, "H W"]:
    """From 0 to 1. Masks of another size but the same shape are resized.

    Raises:
        InputError: no picture, or of another shape.
    """
    pixels, palette = read_grey(path)
    mask = torch.from_numpy(pixels > 0 if palette else pixels).float()
    check_shape(path, mask, width, height)
    whole = 1.0 if palette else float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0
    resized = F.interpolate(mask[None, None] / whole, size=(height, width), mode="bilinear", antialias=True)[0, 0]
    return resized.clamp(0, 1)


def check_shape(path: Path, mask: Tensor, width: int, height: int) -> None:
    rows, columns = mask.shape
    if abs(columns * height - rows * width) > max(width, height):
        raise InputError(f"{path}: {columns} x {rows} pixels; expected the shape of the view, {width} x {height}")


def read_grey(path: Path) -> tuple[np.ndarray, bool]:
    """Pixels [H, W] of 8 or 16 bits, and whether they are entries of a palette; colours become grey."""
    from PIL import Image

    with reading(path), Image.open(BytesIO(path.read_bytes())) as image:
        if image.mode == "P":
            return np.array(image), True
        if image.mode.startswith("I;16") or image.mode == "I":
            return np.array(image).astype(np.uint16), False
        return np.array(image.convert("L")), False
