"""An optional network after drawing: it cleans the picture of an avatar in screen space.

Exports for other players are without it, as they have no such network; so pictures are judged with and without.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.types import Render

CHANNELS = 13
"""Learned channels of each Gaussian, beside its colour."""
WIDTHS = (24, 48, 72)
"""Channels of the network's levels, each of half the size of the one before."""


class ScreenCnn(nn.Module):
    """A U-Net that adds a residual to the colours; it starts as the identity."""

    def __init__(self, channels: int = CHANNELS, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.channels = channels
        inputs = (3 + channels, *widths[:-1])
        self.down = nn.ModuleList(_block(i, o) for i, o in zip(inputs, widths, strict=True))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.out = nn.Conv2d(widths[0], 3, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, image: Render) -> Render:
        """The drawing with cleaned colours; it must have been drawn with the learned channels as features.

        Raises:
            ValueError: it has no features.
        """
        if image.features is None:
            raise ValueError("screen CNN: expected a drawing with features; name the channels in Shot.features")
        residual = self.residual(torch.cat([image.colors, image.features], dim=-1).movedim(-1, 1))
        return replace(image, colors=image.colors + residual.movedim(1, -1))

    def residual(self, planes: Float[Tensor, "C D H W"]) -> Float[Tensor, "C 3 H W"]:
        """Of images of any size."""
        height, width = planes.shape[2:]
        step = 2 ** (len(self.down) - 1)
        x = F.pad(planes, (0, -width % step, 0, -height % step), mode="replicate")
        levels = []
        for i, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if i else x)
            levels.append(x)
        for block, skip in zip(self.up, levels[-2::-1], strict=True):
            x = block(torch.cat([skip, F.interpolate(x, scale_factor=2.0, mode="nearest")], dim=1))
        return self.out(x)[..., :height, :width]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.SiLU()]
    return nn.Sequential(*layers)
