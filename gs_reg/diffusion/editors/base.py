"""What an editor of parts is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


@runtime_checkable
class PartEditor(Protocol):
    """Pixels away from the mask come back as they were."""

    calls: int
    """Predictions of networks so far; a batch of n counts n."""
    views: tuple[str, ...] | None
    """Names of the views that it can edit; None: all."""
    notes: list[str]
    """What the user should know, a line each."""

    def edit(
        self,
        image: Float[Tensor, "H W 3"],
        mask: Bool[Tensor, "H W"],
        depth: Float[Tensor, "H W"] | None,
        prompt: str,
        negative: str,
        reference: Float[Tensor, "H W 3"] | None,
        seed: int,
        *,
        view: str = "",
        start: float = 1.0,
    ) -> Float[Tensor, "H W 3"]:
        """`view`: its name. `start`: the share of the noise path that is gone; below 1 more of the picture stays."""
        ...

    def close(self) -> None:
        """Frees what only this editor uses."""
        ...
