"""How well the attention of part names finds the parts: intersection over union on shapes never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.captions import part_prompt
from gs_reg.data_tools.synthetic.objects.colors import BACKGROUNDS, MOST_PARTS, random_paint
from gs_reg.data_tools.synthetic.objects.dataset import Split
from gs_reg.data_tools.synthetic.objects.families import PARTS
from gs_reg.diffusion.networks import Networks
from gs_reg.diffusion.schedule import MAP_PATH
from gs_reg.diffusion.word_maps import TAU, raw_maps, walk
from gs_reg.parts.maps import RADIUS, part_maps
from gs_reg.parts.types import PartMaps

from .batches import pictures as draw_pictures
from .batches import teacher_tokenizer, tokens_of

LEAST_PIXELS = 8
"""A part of fewer pixels at 64 px is not counted; in proportion at other sizes."""


@runtime_checkable
class Encoder(Protocol):
    def encode(self, images: Float[Tensor, "n H W 3"], /) -> Float[Tensor, "n 16 h w"]: ...


@dataclass(frozen=True)
class MapSettings:
    """How maps are read: which blocks, at which noise, how sharp."""

    blocks: tuple[int, ...]
    path: tuple[float, ...] = MAP_PATH
    tau: float = TAU
    refine: float = RADIUS
    """Radius of the refinement on the pictures, as a share of their side."""


@dataclass(frozen=True)
class MapFigures:
    """Mean over the parts of all pictures, by family. `forced`: inside the object only parts may win."""

    families: dict[str, float]
    forced: dict[str, float]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.families.values())))

    def summary(self) -> dict[str, float]:
        forced = float(np.mean(list(self.forced.values())))
        lowest = min(self.families.values())
        return {"miou": round(self.mean, 4), "lowest": round(lowest, 4), "forced": round(forced, 4)}


def chosen_rows(split: Split, family: str, count: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(split.families == list(PARTS).index(family))
    return np.sort(rng.choice(rows, min(count, len(rows)), replace=False))


@torch.no_grad()
def map_figures(
    networks: Networks,
    split: Split,
    latents: Encoder,
    size: int,
    *,
    pictures: int,
    settings: MapSettings | None = None,
    seed: int = 77,
) -> MapFigures:
    """`pictures` of each family, of any colours; the prompt names the parts and nothing else."""
    settings = settings or MapSettings(tuple(range(len(networks.transformer.transformer_blocks) - 1)))
    tokenizer = teacher_tokenizer(networks.config.tokens)
    plain, forced = {}, {}
    for family in PARTS:
        rng = np.random.default_rng([seed, list(PARTS).index(family)])
        rows = chosen_rows(split, family, pictures, rng)
        paints = [random_paint(family, rng) for _ in rows]
        images, truth = draw_pictures(split, rows, paints, rng.choice(BACKGROUNDS, len(rows)), size)
        tokens, names, _ = tokens_of(tokenizer, [part_prompt(family)] * len(rows))
        walk(networks, latents.encode(images), networks.text(tokens), settings.path)
        raw = raw_maps(networks, names, settings.blocks)
        shares = picture_shares(raw, names, images, truth, settings)
        inside = truth > 0
        plain[family] = iou(shares.argmax(1) * inside, truth)
        forced[family] = iou((shares[:, 1:].argmax(1) + 1) * inside, truth)
    return MapFigures(plain, forced)


def picture_shares(
    maps: Float[Tensor, "n L N"],
    names: Float[Tensor, "n L T"],
    images: Float[Tensor, "n H W 3"],
    truth: Int[Tensor, "n H W"],
    settings: MapSettings,
) -> Float[Tensor, "n L+1 H W"]:
    """Shares of background and parts in each pixel, as an edit reads them from renders with their alphas."""
    cells = int(maps.shape[-1] ** 0.5)
    tau = torch.full((maps.shape[1],), settings.tau)
    ready = part_maps(maps.unflatten(-1, (cells, cells)), tau, images, settings.refine)
    named = (names.sum(-1) > 0).float()
    labels = tuple(map(str, range(maps.shape[1])))
    return PartMaps(labels, ready * named[..., None, None], named).shares((truth > 0).float())


def iou(predicted: Int[Tensor, "n H W"], truth: Int[Tensor, "n H W"]) -> float:
    """Mean over all parts that are seen."""
    least = LEAST_PIXELS * (truth.shape[-1] / 64) ** 2
    values: Sequence[float] = []
    for part in range(1, MOST_PARTS + 1):
        mine, its = truth == part, predicted == part
        seen = mine.sum((1, 2)) >= least
        union = (mine | its).sum((1, 2)).clamp(min=1)
        values = [*values, *((mine & its).sum((1, 2)) / union)[seen].tolist()]
    return float(np.mean(values)) if values else 0.0
