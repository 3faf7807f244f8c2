"""Attention to a reference picture: image tokens also look at the keys and values of another picture's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STOCK = "JointAttnProcessor2_0"
"""The class of the processors that are replaced, SD3's joint attention."""


def has_joint_attention(network: Any) -> bool:
    return bool(_joint(network))


@contextmanager
def attending_to_the_first(network: Any) -> Iterator[None]:
    """In the block, the first picture of a batch is the reference of the others, in every block of the network."""
    stock = dict(network.attn_processors)
    names = _joint(network)
    network.set_attn_processor({name: FirstAsReference() if name in names else p for name, p in stock.items()})
    try:
        yield
    finally:
        network.set_attn_processor(stock)


class FirstAsReference:
    """SD3's joint attention, in which image tokens of all pictures but the first also attend to those of the first."""

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
        x, text, count = hidden_states, encoder_hidden_states, hidden_states.shape[1]
        q = _heads(attn, attn.to_q(x), attn.norm_q, attn.add_q_proj(text), attn.norm_added_q)
        k = _heads(attn, attn.to_k(x), attn.norm_k, attn.add_k_proj(text), attn.norm_added_k)
        v = _heads(attn, attn.to_v(x), None, attn.add_v_proj(text), None)
        first = F.scaled_dot_product_attention(q[:1], k[:1], v[:1])
        seen_k, seen_v = (torch.cat([t[1:], t[:1, :, :count].expand(len(t) - 1, -1, -1, -1)], 2) for t in (k, v))
        image = F.scaled_dot_product_attention(q[1:, :, :count], seen_k, seen_v)
        words = F.scaled_dot_product_attention(q[1:, :, count:], k[1:], v[1:])
        out = torch.cat([first, torch.cat([image, words], 2)]).transpose(1, 2).flatten(2)
        words = out[:, count:]
        return attn.to_out[1](attn.to_out[0](out[:, :count])), words if attn.context_pre_only else attn.to_add_out(
            words
        )


def _heads(attn: Any, image: Tensor, norm: Any, words: Tensor, norm_words: Any) -> Tensor:
    def split(rows: Tensor, normed: Any) -> Tensor:
        rows = rows.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        return rows if normed is None else normed(rows)

    return torch.cat([split(image, norm), split(words, norm_words)], 2)


def _joint(network: Any) -> set[str]:
    """Attention of image and text; not the second one of dual blocks, which has no text."""
    processors = getattr(network, "attn_processors", {})
    return {n for n, p in processors.items() if type(p).__name__ == STOCK and n.endswith(".attn.processor")}
