"""Whether colour words work: a grey part is filled in by a prompt that names a colour, and the outcome measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.captions import Caption, compose
from gs_reg.data_tools.synthetic.objects.colors import (
    GREY,
    HELD_OUT,
    NAMES,
    base_colors,
    nearest_color,
    random_paint,
)
from gs_reg.data_tools.synthetic.objects.dataset import Split
from gs_reg.data_tools.synthetic.objects.families import PARTS
from gs_reg.diffusion.networks import Networks
from gs_reg.diffusion.schedule import sigma_of

from .batches import pictures as draw_pictures
from .batches import teacher_tokenizer, tokens_of
from .export import Latents
from .part_maps import LEAST_PIXELS, chosen_rows

STEPS, GUIDANCE = 20, 5.0


@dataclass(frozen=True)
class ColorFigures:
    """Shares of edits whose median colour is nearest to the named one of 12, each in the light of the grey part."""

    right: float
    shuffled: float
    """The same against the colours of other edits: what chance gives."""
    edits: int
    families: dict[str, float]
    pixels: dict[str, float]
    """By the size of the part."""


@torch.no_grad()
def color_figures(
    networks: Networks, latents: Latents, split: Split, size: int, *, held_out: bool, pictures: int, seed: int = 99
) -> ColorFigures:
    """`pictures` edits of each family, of combinations that were held out or of others."""
    tokenizer = teacher_tokenizer(networks.config.tokens)
    null = networks.text(tokens_of(tokenizer, [Caption("", ())])[0])
    results: list[tuple[str, int, int, int]] = []
    for number, family in enumerate(PARTS):
        rng = np.random.default_rng([seed, number, held_out])
        wanted = _wanted(family, held_out, pictures, rng)
        rows = chosen_rows(split, family, len(wanted), rng)
        paints = [random_paint(family, rng, grey=0.0).changed(p, GREY, 0) for p, _ in wanted]
        images, truth = draw_pictures(split, rows, paints, np.full(len(rows), 0.5), size)
        masks = torch.stack([truth[i] == part + 1 for i, (part, _) in enumerate(wanted)])
        captions = [_edit_prompt(family, part, NAMES[color]) for part, color in wanted]
        text = networks.text(tokens_of(tokenizer, captions)[0])
        edited = latents.decode(inpaint(networks, latents.encode(images), _keep(masks), text, null)).numpy()
        for i, (_, color) in enumerate(wanted):
            count = int(masks[i].sum())
            if count >= LEAST_PIXELS * (size / 64) ** 2:
                inside = masks[i].numpy()
                light = float(np.median(images[i].numpy()[inside])) / float(base_colors([GREY]).mean())
                got = nearest_color(np.median(edited[i][inside], 0), light)
                results.append((family, got, color, count))
    return _figures(results, size)


def _wanted(family: str, held_out: bool, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Rows of part and colour; every combination once before one comes again."""
    parts = PARTS[family]
    all_pairs = [(p, c) for p in range(len(parts)) for c in range(len(NAMES))]
    pairs = [(p, c) for p, c in all_pairs if ((family, parts[p], NAMES[c]) in HELD_OUT) == held_out]
    order = rng.permutation(len(pairs))
    return [pairs[order[i % len(pairs)]] for i in range(count)] if pairs else []


def _edit_prompt(family: str, part: int, words: str) -> Caption:
    return compose(family, [(i, words if i == part else "") for i in range(len(PARTS[family]))])


def _keep(masks: Tensor) -> Float[Tensor, "n 1 h w"]:
    """1 at latents that are (nearly) outside the mask."""
    return (F.avg_pool2d(masks[:, None].float(), 4) <= 0.1).float()


@torch.no_grad()
def inpaint(
    networks: Networks,
    source: Tensor,
    keep: Tensor,
    text: tuple[Tensor, Tensor],
    null: tuple[Tensor, Tensor],
    seed: int = 0,
) -> Tensor:
    """Pure noise inside, the source at the same noise level where keep = 1, in every step."""
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed))
    z, n = noise, len(source)
    both = tuple(torch.cat([a.expand_as(b), b]) for a, b in zip(null, text, strict=True))
    sigmas = [sigma_of(1 - i / STEPS) for i in range(STEPS + 1)]
    for sigma, after in pairwise(sigmas):
        free, named = networks(torch.cat([z, z]), z.new_full((2 * n,), sigma), both).chunk(2)
        z = z + (after - sigma) * (free + GUIDANCE * (named - free))
        z = (1 - keep) * z + keep * ((1 - after) * source + after * noise)
    return z


def _figures(results: Sequence[tuple[str, int, int, int]], size: int) -> ColorFigures:
    right = [got == color for _, got, color, _ in results]
    others = [got == results[(i + 1) % len(results)][2] for i, (_, got, _, _) in enumerate(results)]
    scale = (size / 64) ** 2
    bounds = {"under 40 px": (0, 40), "40 to 120 px": (40, 120), "over 120 px": (120, 1e9)}

    def share(chosen: Sequence[bool]) -> float:
        return round(float(np.mean(chosen)), 4) if len(chosen) else float("nan")

    families = {f: share([ok for ok, r in zip(right, results, strict=True) if r[0] == f]) for f in PARTS}
    pixels = {
        name: share([ok for ok, r in zip(right, results, strict=True) if low <= r[3] / scale < high])
        for name, (low, high) in bounds.items()
    }
    return ColorFigures(share(right), share(others), len(results), families, pixels)
