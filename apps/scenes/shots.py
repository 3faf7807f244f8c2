"""The shots of a stage: for each step its photo, background, render config and dropout."""

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
    """From step to Shot. Random choices are seeded by the step, so a resumed run repeats them without any history."""

    views: Sequence[Views]
    mode: MaskMode
    """transparent: pixels outside the mask must be empty. They get the background's colour in the photo, and the
    background is random in every step, so that Gaussians there raise the loss."""
    seed: int
    train: TrainConfig
    sh_degree: int
    """SH degree of the stage's model."""

    def __call__(self, step: int) -> Shot:
        view, background = self.views[shuffled(len(self.views), step, self.seed)], self.background(step)
        if self.mode == "transparent" and view.masks is not None:
            view = replace(view, images=torch.where(view.masks[..., None], view.photos, background), masks=None)
        return Shot(view, self.render_config(step), background, dropout=Dropout(self.train.dropout, self.seed))

    def background(self, step: int) -> Float[Tensor, "3"]:
        """Random, or in a share of the steps the mean colour of the photos.

        Over a colour that stays, a splat that lets a little of it through matches the photo, but over no other colour.
        """
        generator = torch.Generator().manual_seed(7_919 * self.seed + step)
        color = torch.rand(1, 3, generator=generator)[0].to(self.views[0].photos)
        drawn = self.mode == "transparent" or float(torch.rand((), generator=generator)) < self.train.random_background
        return color if drawn else self._mean_color

    @cached_property
    def _mean_color(self) -> Float[Tensor, "3"]:
        return mean_color(self.views)

    def render_config(self, step: int) -> RenderConfig:
        """The render config of a step, with its supersampling and SH degree."""
        train = self.train
        progress, factor = step / max(train.steps, 1), train.render.supersample
        if train.multisample > 1 and progress >= train.multisample_from:
            generator = torch.Generator().manual_seed(step)
            factor = int(torch.randint(1, train.multisample + 1, (), generator=generator))
        # SH degree n + 1 is still off, so the degree is at most n
        inactive = [n for n, share in enumerate(train.sh_from) if progress < share]
        degree = self.sh_degree if train.render.sh_degree is None else train.render.sh_degree
        return replace(train.render, supersample=factor, sh_degree=min([degree, *inactive]))


def mean_color(views: Sequence[Views]) -> Float[Tensor, "3"]:
    """Mean colour of the photos inside their masks, with equal weights."""
    pixels = [v.photos[0] if v.masks is None else v.photos[0][v.masks[0]] for v in views]
    return torch.stack([p.reshape(-1, 3).mean(0) for p in pixels]).mean(0)
