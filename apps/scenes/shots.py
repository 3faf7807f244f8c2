"""What each step of a stage looks at: a photo, in an order that the step alone decides, and how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.photos.masks import MaskMode
from gs_reg.dropout import Dropout
from gs_reg.fit import shuffled
from gs_reg.render import RenderConfig
from gs_reg.shot import Shot
from gs_reg.types import Views

from .flags import TrainConfig


@dataclass(frozen=True)
class Shots:
    """A function of the step alone, so that resuming needs no history."""

    views: Sequence[Views]
    mode: MaskMode
    """transparent: masked pixels must stay empty, so they are drawn over, and compared with, a new colour each step."""
    seed: int
    train: TrainConfig
    sh_degree: int
    """Of the stage's model."""

    def __call__(self, step: int) -> Shot:
        view, background = self.views[shuffled(len(self.views), step, self.seed)], self.background(step)
        if self.mode == "transparent" and view.masks is not None:
            view = replace(view, images=torch.where(view.masks[..., None], view.photos, background), masks=None)
        return Shot(view, self.drawing(step), background, dropout=Dropout(self.train.dropout, self.seed))

    def background(self, step: int) -> Float[Tensor, "3"]:
        """Random where empty pixels are known to be empty, else the mean colour of the photos."""
        if self.mode != "transparent":
            return self._mean_color
        generator = torch.Generator().manual_seed(7_919 * self.seed + step)
        return torch.rand(1, 3, generator=generator)[0].to(self.views[0].photos)

    @cached_property
    def _mean_color(self) -> Float[Tensor, "3"]:
        return mean_color(self.views)

    def drawing(self, step: int) -> RenderConfig:
        """How a step is drawn: at which size, with colour of which degree."""
        train = self.train
        progress, factor = step / max(train.steps, 1), train.render.supersample
        if train.multisample > 1 and progress >= train.multisample_from:
            generator = torch.Generator().manual_seed(step)
            factor = int(torch.randint(1, train.multisample + 1, (), generator=generator))
        inactive = [n for n, share in enumerate(train.sh_from) if progress < share]
        wanted = self.sh_degree if train.render.sh_degree is None else train.render.sh_degree
        return replace(train.render, supersample=factor, sh_degree=min([wanted, *inactive]))


def mean_color(views: Sequence[Views]) -> Float[Tensor, "3"]:
    """Mean colour of the training photos' pixels that count: what regions that no photo saw are drawn over."""
    kept = [v.photos[0] if v.masks is None else v.photos[0][v.masks[0]] for v in views]
    return torch.stack([k.reshape(-1, 3).mean(0) for k in kept]).mean(0)
