"""The ways in which splats can be drawn: their colours, depth, alpha, how many photos confirm them, their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from gs_reg.render import RenderConfig, render
from gs_reg.sh import sh_colors, sh_to_rgb
from gs_reg.types import Cameras, Splats

from ..edit.preview import COLORS
from ..look.colormap import RAMP, along, colorize, depth_range
from .drawing import as_picture

Look = Literal["colour", "depth", "alpha", "confidence", "parts"]
LOOKS: tuple[Look, ...] = get_args(Look)
UNLABELLED = (0.6, 0.6, 0.6)
BAKED_CAMERAS = 8
"""From so many training cameras at most the colour is taken that a browser shows from everywhere."""


def draw_look(
    splats: Splats,
    camera: Cameras,
    look: Look,
    colors: Mapping[Look, Float[Tensor, "N 3"]],
    background: Float[Tensor, "3"],
    config: RenderConfig,
) -> UInt8[np.ndarray, "H W 3"]:
    """One picture; `colors` are those of the looks that give each splat a colour of its own."""
    if look in colors:
        splats = replace(splats, colors=colors[look][None])
    camera, background = camera.to(splats.means.device), background.to(splats.means.device)
    with torch.no_grad():
        image = render(splats, camera, config, backgrounds=background[None])
    if look == "alpha":
        return as_picture(image.alphas[0].expand(-1, -1, 3))
    if look == "depth":
        depths = torch.where(image.alphas > 0.5, image.expected_depths, 0.0)[0, ..., 0]
        return as_picture(colorize(depths, *depth_range(depths)))
    return as_picture(image.colors[0])


def confidence_colors(counts: Float[Tensor, "N"], photos: int) -> Float[Tensor, "N 3"]:
    """From dark, which no training photo confirms, over warm to cool, which all do."""
    return along(RAMP[::-1], counts / photos)


def part_colors(ids: Int[Tensor, "N"]) -> Float[Tensor, "N 3"]:
    """A colour for each part, the colours of the preview of an edit; grey for the background."""
    table = torch.tensor(COLORS, dtype=torch.float32, device=ids.device) / 255
    colors = table[(ids - 1) % len(table)]
    return torch.where((ids == 0)[:, None], colors.new_tensor(UNLABELLED), colors)


def baked_colors(splats: Splats, cameras: Float[Tensor, "C 3"]) -> Float[Tensor, "N 3"]:
    """One colour for all directions: the mean of those towards the cameras; without any, that of degree 0."""
    if len(cameras) == 0 or splats.sh_degree == 0:
        return sh_to_rgb(splats.sh[:, 0]).clamp(0, 1)
    cameras = cameras[:: -(-len(cameras) // BAKED_CAMERAS)]
    total = torch.zeros_like(splats.means)
    for center in cameras:
        total += sh_colors(splats.sh, splats.means, center[None], splats.sh_degree)[0].clamp_max(1)
    return total / len(cameras)


WORDS: Mapping[Look, str] = {
    "colour": "colours as trained",
    "depth": "depth: near is warm, far is cool, grey is empty",
    "alpha": "alpha: white is solid, black is empty",
    "confidence": "how many training photos see a surface: red none, blue all",
    "parts": "parts, as `gs-reg edit parts` found them",
}
