"""CLIP score of pictures with words, and whether pictures changed in the direction in which the words did."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .folders import Network, as_bytes

CHUNK = 8
"""Pictures at once."""
SAME = 1e-5
"""Embeddings have length 1; those that differ by less are of the same picture or the same words."""


@dataclass(frozen=True)
class ClipScores:
    """Of each picture. Scores are cosines, neither scaled nor cut at 0."""

    before: Float[Tensor, "C"]
    """Of the pictures before the edit with the words after it."""
    after: Float[Tensor, "C"]
    direction: Float[Tensor, "C"] | None
    """0 for a picture that did not change; None where the words did not."""


def clip_scores(
    network: Network, before: Float[Tensor, "C H W 3"], after: Float[Tensor, "C H W 3"], source: str, target: str
) -> ClipScores:
    """Of pictures before and after an edit, with the words for both."""
    old, words = embeddings(network, before, [source, target])
    new, _ = embeddings(network, after, [source, target])
    return ClipScores(old @ words[1], new @ words[1], direction(new - old, words[1] - words[0]))


def direction(moved: Float[Tensor, "C E"], words: Float[Tensor, "E"]) -> Float[Tensor, "C"] | None:
    """Cosine between how the embeddings of pictures moved and how that of the words did."""
    if float(words.norm()) < SAME:
        return None
    cosines = F.cosine_similarity(moved, words[None], dim=1)
    return torch.where(moved.norm(dim=1) < SAME, torch.zeros_like(cosines), cosines)


@torch.no_grad()
def embeddings(
    network: Network, pictures: Float[Tensor, "C H W 3"], words: list[str]
) -> tuple[Float[Tensor, "C E"], Float[Tensor, "T E"]]:
    """Of length 1, of pictures and of words. The processor of the folder says how pictures are resized and cropped."""
    rows, text = [], torch.zeros(0)
    for some in pictures.split(CHUNK):
        inputs = network.inputs(text=words, images=as_bytes(some), padding=True, truncation=True)
        out = network.model(**inputs)
        rows.append(F.normalize(out.image_embeds.float(), dim=1).cpu())
        text = F.normalize(out.text_embeds.float(), dim=1).cpu()
    return torch.cat(rows), text


def fits(network: Network, words: str) -> bool:
    """Whether CLIP reads all of the words, rather than their beginning."""
    tokenizer = network.processor.tokenizer
    return len(tokenizer(words).input_ids) <= tokenizer.model_max_length
