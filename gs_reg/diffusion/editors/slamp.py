"""The editor that is the teacher's own pipeline."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from ..model import DiffusionModel
from ..slamp import SlampConfig, slamp


class SlampEditor:
    views: tuple[str, ...] | None = None

    def __init__(self, model: DiffusionModel, config: SlampConfig = SlampConfig()):
        self.model, self.config = model, config
        self.calls = 0
        self.notes: list[str] = []

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
        before = self.model.calls
        out = slamp(
            self.model,
            image,
            mask,
            prompt,
            self.config,
            seed=seed,
            negative=negative,
            reference=reference,
            start=start,
        )
        self.calls += self.model.calls - before
        return out

    def close(self) -> None:
        """The model belongs to others."""
