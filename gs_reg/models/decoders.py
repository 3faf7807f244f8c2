"""The decoder of CoherentGS, after X-Fields: from the index of a photo to a few channels for each of its pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

OCTAVES = 10
"""Frequencies of the positional encoding of a view's index."""
WIDTHS = (16, 16, 16, 8, 8, 8)
"""Channels of the first levels, in multiples of the capacity; later levels have 4 times the capacity."""


class ViewDecoder(nn.Module):
    """Upsampling convolutions from 1 x 1 to height x width, doubling at each level.

    The output has no activation. Weights start at a standard deviation of 0.02, so the output starts near 0.
    """

    def __init__(self, views: int, height: int, width: int, capacity: int, channels: int):
        super().__init__()
        self.size = (height, width)
        self.code: Tensor
        self.register_buffer("code", view_code(views), persistent=False)
        levels = max(height, width).bit_length() - 1
        widths = [capacity * (WIDTHS[n] if n < len(WIDTHS) else 4) for n in range(levels)]
        # CoordConv: the second level also gets the coordinates
        inputs = [2 * OCTAVES, widths[0] + 2, *widths[1:]]
        self.levels = nn.ModuleList(nn.Conv2d(inputs[n], widths[n], 1 if n == 0 else 3) for n in range(levels))
        self.last = nn.Conv2d(inputs[-1], channels, 3)
        for name, weight in self.named_parameters():
            nn.init.normal_(weight, 0.0, 0.0 if name.endswith("bias") else 0.02)

    def forward(self) -> Float[Tensor, "V D H W"]:
        """All views in one batch."""
        x = self.code[:, :, None, None]
        for n, conv in enumerate(self.levels):
            rows, columns = (_size_after(side, n + 1) for side in self.size)
            if n == 1:
                x = torch.cat([x, _corners(x)], dim=1)
            # A side doubles, or doubles and gains one. Padding adds that one, so upsampling is always by 2.
            even = (_doubled(x.shape[2], rows), _doubled(x.shape[3], columns))
            x = F.interpolate(x, size=even, mode="bilinear", align_corners=True)
            edge = 0 if n == 0 else 1
            x = F.pad(x, (edge, edge + columns - even[1], edge, edge + rows - even[0]), mode="reflect")
            x = F.leaky_relu(conv(x), 0.2)
        return self.last(F.pad(x, (1, 1, 1, 1), mode="reflect"))


def view_code(views: int) -> Float[Tensor, "V 20"]:
    """Sines and cosines of 2^k t, with t from 0 for the first view to 1 for the last."""
    t = torch.linspace(0, 1, views)[:, None] * 2.0 ** torch.arange(OCTAVES)
    return torch.cat([t.sin(), t.cos()], dim=1)


def _size_after(side: int, level: int) -> int:
    """Size of a side after a level: its leading binary digits, so each level doubles it and adds 0 or 1."""
    return side >> max(side.bit_length() - 1 - level, 0)


def _doubled(before: int, after: int) -> int:
    """The size to upsample to: twice the size before, unless the side is full already."""
    return after if after == before else 2 * before


def _corners(x: Float[Tensor, "V D H W"]) -> Float[Tensor, "V 2 H W"]:
    """-1 and 1 as the x and y of the corners of a 2 x 2 image, reflected to the size of x."""
    corners = torch.stack(torch.meshgrid(*2 * [torch.tensor([-1.0, 1.0])], indexing="xy")).to(x)
    padded = F.pad(corners[None], (0, x.shape[3] - 2, 0, x.shape[2] - 2), mode="reflect")
    return padded.expand(len(x), -1, -1, -1)
