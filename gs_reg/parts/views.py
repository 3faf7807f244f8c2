"""What cameras see of the splats and of some of them: pictures with masks, depths and alphas."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats, Views

SOLID = 0.5
"""Share of a pixel from which it belongs to the chosen Gaussians, and alpha from which it has a depth."""


@torch.no_grad()
def part_views(
    splats: Splats,
    cameras: Cameras,
    chosen: Bool[Tensor, "N"],
    config: RenderConfig = RenderConfig(),
    background: Float[Tensor, "3"] | None = None,
) -> Views:
    """Renders with the masks of what the chosen Gaussians make up, and with expected depths (0 = nothing there)."""
    indicator = chosen.to(splats.means)[:, None]
    seen = []
    for i in range(len(cameras)):  # one by one: memory for one picture at a time
        behind = None if background is None else background[None]
        image = render(splats, cameras[i], config, features=indicator, backgrounds=behind)
        assert image.features is not None
        alphas = image.alphas[..., 0]
        depths = torch.where(alphas >= SOLID, image.expected_depths[..., 0], 0.0)
        masks = image.features[..., 0] >= SOLID
        seen.append(Views(cameras[i], image.colors, masks=masks, depths=depths, alphas=alphas))
    return Views.stack(seen)


def dilated(masks: Bool[Tensor, "C H W"], pixels: int) -> Bool[Tensor, "C H W"]:
    """The masks, wider by so many pixels to all sides."""
    grown = torch.nn.functional.max_pool2d(masks[:, None].float(), 2 * pixels + 1, 1, pixels)
    return grown[:, 0] > 0
