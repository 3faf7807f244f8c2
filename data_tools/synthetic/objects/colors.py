"""Named colours and finishes, and pictures of buffers in them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.parts.lab import lab

from .buffers import CHEQUER, PART, SHADE_SCALE, STRIPE, Buffers
from .families import PARTS

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (205, 30, 35),
    "orange": (245, 130, 25),
    "yellow": (245, 220, 45),
    "green": (45, 150, 50),
    "teal": (0, 130, 130),
    "cyan": (105, 220, 240),
    "blue": (35, 65, 205),
    "purple": (125, 45, 165),
    "pink": (245, 135, 185),
    "brown": (115, 65, 30),
    "white": (240, 240, 240),
    "black": (25, 25, 25),
}
NAMES = tuple(COLORS)
GREY = len(NAMES)
"""Index of the neutral grey that prior removal paints."""
FINISHES = ("matte", "shiny", "striped", "chequered")
BACKGROUNDS = (0.02, 0.5, 0.97)
MOST_PARTS = 6


@cache
def _centers() -> Float[np.ndarray, "13 3"]:
    """The named colours and the neutral grey, in [0, 1]."""
    return np.array([*COLORS.values(), (127.5, 127.5, 127.5)]) / 255


def held_out(family: str, part: str, color: str) -> bool:
    """Whether a combination never occurs in training: some 15 % of them, fixed for good."""
    return zlib.crc32(f"{family}/{part}/{color}".encode()) % 100 < 15


HELD_OUT = frozenset((f, p, c) for f, parts in PARTS.items() for p in parts for c in NAMES if held_out(f, p, c))


@dataclass(frozen=True)
class Paint:
    """Colour (row of NAMES, or GREY) and finish (row of FINISHES) of each part of one object."""

    colors: tuple[int, ...]
    finishes: tuple[int, ...]

    def changed(self, part: int, color: int | None = None, finish: int | None = None) -> Paint:
        """With another colour or finish of the part at this row."""
        colors, finishes = list(self.colors), list(self.finishes)
        colors[part] = colors[part] if color is None else color
        finishes[part] = finishes[part] if finish is None else finish
        return Paint(tuple(colors), tuple(finishes))


def random_paint(family: str, rng: np.random.Generator, grey: float = 0.1, finished: float = 0.3) -> Paint:
    """Colours without held-out combinations; a part is grey or has a finish other than matte with these shares."""
    colors = []
    for part in PARTS[family]:
        allowed = [i for i, name in enumerate(NAMES) if (family, part, name) not in HELD_OUT]
        colors.append(GREY if rng.random() < grey else int(rng.choice(allowed)))
    finishes = [
        0 if color == GREY or rng.random() >= finished else int(rng.integers(1, len(FINISHES))) for color in colors
    ]
    return Paint(tuple(colors), tuple(finishes))


def base_colors(colors: Sequence[int]) -> Float[np.ndarray, "L 3"]:
    return _centers()[list(colors)]


def second_colors(base: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
    """Of stripes and squares: towards white on dark colours, towards black on light ones."""
    light = (base @ [0.3, 0.6, 0.1] > 0.55)[:, None]
    return np.where(light, 0.35 * base, 0.25 * base + 0.75)


def paint(
    buffers: Buffers,
    paints: Sequence[Paint],
    backgrounds: Float[np.ndarray, "n"],
    *,
    jitter: np.random.Generator | None = None,
    downscale: int = 2,
) -> tuple[Float[Tensor, "n H W 3"], Int[Tensor, "n H W"]]:
    """Pictures in [0, 1], the mean of downscale^2 subpixels, and the part id that most of these have (0 = none).

    With `jitter`, every part is a little off its colour's centre.
    """
    n = len(buffers.codes)
    table = np.zeros((n, 32, 3), np.float32)
    shiny = np.zeros((n, 8), np.float32)
    for i, item in enumerate(paints):
        base = base_colors(item.colors)
        if jitter is not None:
            base = (base + jitter.normal(0, 0.025, base.shape)).clip(0, 1)
        second = second_colors(base)
        table[i, :8] = table[i, 8:16] = table[i, 16:24] = table[i, 24:] = backgrounds[i]
        for row, finish in enumerate(item.finishes):
            for bits in (0, STRIPE, CHEQUER, STRIPE | CHEQUER):
                on = (finish == 2 and bits & STRIPE) or (finish == 3 and bits & CHEQUER)
                table[i, bits + row + 1] = second[row] if on else base[row]
            shiny[i, row + 1] = 0.75 * (finish == 1)
    codes = torch.from_numpy(buffers.codes.astype(np.int32))
    places = (codes + 32 * torch.arange(n, dtype=torch.int32)[:, None, None]).flatten()
    colors = torch.from_numpy(table.reshape(-1, 3))[places]
    parts = codes.bitwise_and(PART)
    shade = torch.from_numpy(buffers.shades).flatten().float() / SHADE_SCALE
    shade = torch.where(parts.flatten() > 0, shade, 1.0)
    colors *= shade[:, None]
    if shiny.any():
        rows = (parts + 8 * torch.arange(n, dtype=torch.int32)[:, None, None]).flatten()
        glint = torch.from_numpy(shiny.reshape(-1))[rows] * torch.from_numpy(buffers.gloss).flatten().float() / 255
        colors += glint[:, None] * (1 - colors)
    image = colors.clamp_(0, 1).reshape(*codes.shape, 3).permute(0, 3, 1, 2)
    return F.avg_pool2d(image, downscale).permute(0, 2, 3, 1).contiguous(), majority(parts, downscale)


def majority(parts: Int[Tensor, "n S S"], downscale: int) -> Int[Tensor, "n H W"]:
    """The id of most subpixels of each pixel; on a tie the smaller id, so that the background wins."""
    if downscale == 1:
        return parts.long()
    blocks = parts.byte().unfold(1, downscale, downscale).unfold(2, downscale, downscale).flatten(3)
    # count and id in one byte: a maximum is many times faster than an argmax
    ranked = [8 * (blocks == part).sum(-1, dtype=torch.uint8) + (PART - part) for part in range(MOST_PARTS + 1)]
    return PART - (torch.stack(ranked).amax(0) % 8).long()


def coverage(ids: Int[Tensor, "n H W"], cells: int) -> Float[Tensor, "n L K"]:
    """Share of each of cells x cells cells that each of MOST_PARTS parts covers, K = cells^2."""
    one_hot = F.one_hot(ids, MOST_PARTS + 1)[..., 1:].permute(0, 3, 1, 2).float()
    return F.avg_pool2d(one_hot, ids.shape[-1] // cells).flatten(2)


def nearest_color(rgb: Float[np.ndarray, "3"], light: float = 1.0) -> int:
    """Row in NAMES of the colour nearest in CIELAB, where a surface in that light shows this share of its colour."""
    return int(((lab(rgb) - lab(light * _centers()[:GREY])) ** 2).sum(-1).argmin())
