"""The sheet of pictures by which a user sees what was found, before anything is edited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.io.atomic import atomic_path
from gs_reg.types import Views

from .pictures import as_bytes

COLORS = ((230, 60, 60), (60, 130, 240), (70, 190, 80), (245, 190, 40), (170, 80, 220), (40, 200, 200), (245, 120, 190))
COLUMNS, TILE, STRIP = 6, 240, 26
"""Views on the sheet, width of a picture in pixels, height of a line of text."""


def write_preview(
    path: Path,
    views: Views,
    names: Sequence[str],
    masks: Bool[Tensor, "C L H W"],
    maps: Float[Tensor, "C L H W"],
) -> None:
    """Rows: the pictures, what the teacher said of the part most likely there, the masks that an edit would have."""
    from PIL import Image, ImageDraw

    shown = [round(i * (len(views) - 1) / max(COLUMNS - 1, 1)) for i in range(COLUMNS)]
    shown = list(dict.fromkeys(shown))
    height, width = masks.shape[-2:]
    tall = round(TILE * height / width)
    sheet = Image.new("RGB", (TILE * len(shown), 3 * tall + 2 * STRIP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, view in enumerate(shown):
        picture = as_bytes(views.photos[view])
        said = _tinted(picture, maps[view].numpy())
        found = _tinted(picture, masks[view].numpy().astype(np.float32))
        draw.text((TILE * column + 6, 7), views.names[view], fill="black")
        for row, pixels in enumerate((picture, said, found)):
            sheet.paste(Image.fromarray(pixels).resize((TILE, tall)), (TILE * column, STRIP + row * tall))
    x = 6
    draw.text((x, STRIP + 3 * tall + 7), "rows: picture; teacher's maps; parts    ", fill="black")
    x += 250
    for i, name in enumerate(names):
        draw.rectangle((x, STRIP + 3 * tall + 6, x + 14, STRIP + 3 * tall + 20), fill=COLORS[i % len(COLORS)])
        draw.text((x + 20, STRIP + 3 * tall + 7), name, fill="black")
        x += 34 + int(draw.textlength(name))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _tinted(picture: np.ndarray, shares: Float[np.ndarray, "L H W"]) -> np.ndarray:
    """The picture in grey, each pixel in the colour of the part that has most of it, as strongly as it has."""
    best, strength = shares.argmax(0), shares.max(0)[..., None]
    grey = picture.mean(-1, keepdims=True).repeat(3, -1) * 0.6 + 90
    color = np.array(COLORS, np.float32)[best % len(COLORS)]
    return (grey * (1 - 0.75 * strength) + color * 0.75 * strength).clip(0, 255).astype(np.uint8)
