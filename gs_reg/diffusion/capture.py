"""Where words look in the picture, read out of any SD3-shaped transformer while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError

from .word_maps import word_products


class WordCapture:
    """Products of word queries and image keys, by the name of the block; each of the last call."""

    def __init__(self, words: Float[Tensor, "B L T"]):
        self.words = words
        self.by_block: dict[str, Float[Tensor, "B L keys"]] = {}

    @property
    def total(self) -> Float[Tensor, "B L keys"]:
        """Sum over the blocks."""
        return torch.stack(list(self.by_block.values())).sum(0)


@contextmanager
def captured_words(transformer: Any, blocks: Sequence[int], words: Float[Tensor, "B L T"]) -> Iterator[WordCapture]:
    """Records what the chosen blocks say of words inside the block, which changes nothing of the outputs.

    `words[b, l]` weighs the tokens of prompt b that belong to part l, as spans.tokenize() gives them; text rows beyond
    its T (of T5, or zeros) belong to nothing. Of a batch of more than B rows the last B count: guidance puts the
    unconditional ones first.

    Raises:
        InputError: no transformer of SD3's shape, or a block that it has not; the last one has no text to read.
    """
    chosen = readable_blocks(transformer, blocks)
    attentions = {f"transformer_blocks.{i}.attn": transformer.transformer_blocks[i].attn for i in chosen}
    capture = WordCapture(words)
    before = {name: attention.processor for name, attention in attentions.items()}
    try:
        for name, attention in attentions.items():
            attention.processor = _Reading(before[name], capture, name)
        yield capture
    finally:
        for name, attention in attentions.items():
            attention.processor = before[name]


def readable_blocks(transformer: Any, blocks: Sequence[int] | None) -> tuple[int, ...]:
    """The blocks, all that can be read for None: the last one has no text output.

    Raises:
        InputError: no transformer of SD3's shape, or blocks that it has not.
    """
    own = getattr(transformer, "transformer_blocks", None)
    if own is None or not all(hasattr(block, "context_pre_only") for block in own):
        raise InputError(f"teacher sd3: {type(transformer).__name__} has no joint attention as SD3's transformer has")
    last = len(own) - 2
    chosen = tuple(range(last + 1)) if blocks is None else tuple(blocks)
    if not chosen or not all(0 <= block <= last for block in chosen):
        raise InputError(f"teacher sd3: blocks {list(chosen)}: expected some of 0 to {last} of this transformer")
    return chosen


class _Reading:
    """The stock processor, after a look at its queries and keys."""

    def __init__(self, stock: Any, capture: WordCapture, name: str):
        self.stock, self.capture, self.name = stock, capture, name

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *rest: Any, **more: Any) -> Any:
        self.capture.by_block[self.name] = self._products(attn, hidden_states, encoder_hidden_states)
        return self.stock(attn, hidden_states, encoder_hidden_states, *rest, **more)

    @torch.no_grad()
    def _products(self, attn: Any, image: Tensor, text: Tensor) -> Float[Tensor, "B L keys"]:
        count = len(self.capture.words)
        if len(image) < count:
            raise ValueError(f"words: of {count} prompts, the batch has {len(image)}")
        q = _normed(attn.add_q_proj(text[-count:]), attn.norm_added_q, attn.heads)
        k = _normed(attn.to_k(image[-count:]), attn.norm_k, attn.heads)
        words = F.pad(self.capture.words, (0, q.shape[1] - self.capture.words.shape[2])).to(q.device)
        return word_products(words, q, k, attn.heads)


def _normed(projected: Float[Tensor, "B T C"], norm: Any, heads: int) -> Float[Tensor, "B T C"]:
    """In float32; a norm, where there is one, is over the channels of a head."""
    if norm is not None:
        projected = norm(projected.unflatten(-1, (heads, -1))).flatten(-2)
    return projected.float()
