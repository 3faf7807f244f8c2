"""Batches of pictures with captions, drawn anew for every step; step and seed say all about a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.captions import WORDS, Caption, random_caption
from gs_reg.data_tools.synthetic.objects.colors import BACKGROUNDS, MOST_PARTS, Paint, paint, random_paint
from gs_reg.data_tools.synthetic.objects.dataset import Split
from gs_reg.diffusion.spans import tokenize
from gs_reg.diffusion.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

SPLIT_WORDS = {"antenna": 3, "headlights": 4, "torso": 3, "windows": 4, "fuselage": 4}
"""Part words of two tokens, as real tokenizers have them."""
SOFT_SHARE = 0.3
"""Pictures that are a little blurred and noisy, as renders of splats are."""


def teacher_tokenizer(length: int) -> CLIPTokenizer:
    return make_tokenizer(WORDS, SPLIT_WORDS, length)


@dataclass(frozen=True, eq=False)
class Batch:
    images: Float[Tensor, "n H W 3"]
    parts: Int[Tensor, "n H W"]
    """Part ids, 0 = background."""
    tokens: Int[Tensor, "n T"]
    names: Float[Tensor, "n L T"]
    """Mean over the tokens of each part's name."""
    phrases: Float[Tensor, "n L T"]
    """The same over the words about the part."""


def draw_batch(split: Split, size: int, count: int, tokenizer: CLIPTokenizer, rng: np.random.Generator) -> Batch:
    """Random pictures of `size` pixels with random colours, finishes, backgrounds and captions."""
    rows = np.sort(rng.integers(0, len(split), count))
    paints = [random_paint(split.family(row), rng) for row in rows]
    images, parts = pictures(split, rows, paints, rng.choice(BACKGROUNDS, count), size, jitter=rng)
    captions = [
        random_caption(split.family(row), item, tuple(split.places[row].tolist()), rng)
        for row, item in zip(rows, paints, strict=True)
    ]
    return Batch(_softened(images, rng), parts, *tokens_of(tokenizer, captions))


def pictures(
    split: Split,
    rows: np.ndarray,
    paints: list[Paint],
    backgrounds: np.ndarray,
    size: int,
    jitter: np.random.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Pictures and part ids of rows of the split."""
    downscale = split.buffers.codes.shape[-1] // size
    return paint(split.buffers[rows], paints, backgrounds, jitter=jitter, downscale=downscale)


def tokens_of(tokenizer: CLIPTokenizer, captions: list[Caption]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, names and phrases of a Batch."""
    ranges = [
        {s.part: (s.start, s.end) for s in c.spans} | {MOST_PARTS + s.part: (s.phrase, s.end) for s in c.spans}
        for c in captions
    ]
    tokens, spans = tokenize(tokenizer, [c.text for c in captions], ranges, 2 * MOST_PARTS)
    return tokens, spans[:, :MOST_PARTS], spans[:, MOST_PARTS:]


def _softened(images: Tensor, rng: np.random.Generator) -> Tensor:
    n = len(images)
    share = torch.tensor(np.where(rng.random(n) < SOFT_SHARE, rng.uniform(0, 1, n), 0), dtype=torch.float32)
    planes = images.permute(0, 3, 1, 2)
    blurred = F.avg_pool2d(F.pad(planes, (1, 1, 1, 1), mode="replicate"), 3, 1).permute(0, 2, 3, 1)
    noise = torch.tensor(rng.normal(0, 0.02, images.shape), dtype=torch.float32)
    share = share[:, None, None, None]
    return (images + share * (blurred - images + noise)).clamp(0, 1)
