"""The text of prompts, and the Protocol of a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Text:
    """Encoded prompts."""

    rows: Float[Tensor, "n T D"]
    pooled: Float[Tensor, "n P"] | None
    """None where the network takes none."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | Sequence[int]) -> Text:
        return Text(self.rows[index], None if self.pooled is None else self.pooled[index])

    @staticmethod
    def joined(texts: Sequence[Text]) -> Text:
        """One after another, of one model."""
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return Text(torch.cat([text.rows for text in texts]), torch.cat(pooled) if pooled else None)

    def expanded(self, count: int) -> Text:
        """One prompt for `count` pictures; as many prompts as pictures are left alone."""
        return self if len(self) == count else self[[0] * count]


@runtime_checkable
class Family(Protocol):
    """`pipe` is the pipeline of diffusers whose components are used; it is not called itself."""

    network: str
    """The name of the network among the pipeline's components."""

    def packing(self, pipe: Any) -> int:
        """Side in latents of what is one token of the network; the sides of latents must be multiples of it."""
        ...

    def channels(self, pipe: Any) -> int:
        """Channels that the network takes: of latents, and of what else it is shown."""
        ...

    def side(self, pipe: Any) -> int:
        """Of its native pictures, in latents."""
        ...

    def tokenizer(self, pipe: Any) -> Any:
        """Of the prompt's first rows of text."""
        ...

    def text(self, pipe: Any, prompts: Sequence[str], zero_rows: int, device: torch.device) -> Text: ...

    def predict(
        self, pipe: Any, z: Float[Tensor, "B c h w"], timesteps: Float[Tensor, "B"], text: Text
    ) -> Float[Tensor, "B k h w"]:
        """`timesteps` in 0..1000, as the scheduler counts them."""
        ...
