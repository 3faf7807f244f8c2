"""Which tokens of a prompt belong to a range of its characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], ranges: Sequence[Mapping[int, tuple[int, int]]], rows: int
) -> tuple[Int[Tensor, "n T"], Float[Tensor, "n rows T"]]:
    """Token ids, and for each text the mean over the tokens that overlap each range.

    Row r of `ranges[i]` gives 1 / count at its tokens, a row without a range zeros; special tokens and padding overlap
    nothing.
    """
    found = tokenizer(list(texts), padding="max_length", truncation=True, return_offsets_mapping=True)
    # return_tensors="pt" would be ten times slower
    starts, ends = torch.from_numpy(np.array(found["offset_mapping"])).unbind(-1)
    spans = torch.zeros(len(texts), rows, starts.shape[1])
    for i, of_text in enumerate(ranges):
        for row, (first, last) in of_text.items():
            inside = ((starts[i] < last) & (ends[i] > first)).float()
            spans[i, row] = inside / inside.sum().clamp(min=1)
    return torch.from_numpy(np.array(found["input_ids"])), spans
