"""What a training step looks at: one frame in a few cameras, over a background of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.data_tools.heads.types import Capture
from gs_reg.densify.clusters import balanced_frame
from gs_reg.render import RenderConfig
from gs_reg.shot import Shot
from gs_reg.types import Views


@dataclass(frozen=True)
class FrameShots:
    """Every other step a cluster of expressions is drawn first and then a frame of it; by seed and step alone."""

    capture: Capture
    frames: Int[Tensor, "F"]
    """That may be drawn."""
    clusters: Int[Tensor, "F"]
    """Of these frames."""
    cameras: tuple[int, ...]
    count: int
    """Cameras of a step."""
    seed: int
    render: RenderConfig = RenderConfig()
    degree: int = 3
    """Highest degree of spherical harmonics."""
    degree_every: int = 0
    """Steps after which one more degree is in use; 0 = all from the start."""
    features: tuple[str, ...] = ()
    device: torch.device = torch.device("cpu")

    def __call__(self, step: int) -> Shot:
        random = torch.Generator().manual_seed(1_000_003 * (self.seed + 17) + step)
        frame = balanced_frame(step, self.frames, self.clusters, self.seed)
        order = torch.randperm(len(self.cameras), generator=random)[: self.count].sort().values
        views = self.capture.views(frame, [self.cameras[int(i)] for i in order]).to(self.device)
        background = torch.rand(3, generator=random).to(self.device)
        degree = self.degree if self.degree_every == 0 else min(self.degree, step // self.degree_every)
        settings = replace(self.render, sh_degree=degree)
        return Shot(over(views, background), settings, background, self.features)


def over(views: Views, background: Float[Tensor, "3"]) -> Views:
    """The photos with their background replaced, where they have alphas."""
    if views.alphas is None:
        return views
    alphas = views.alphas[..., None]
    return replace(views, images=views.photos * alphas + (1 - alphas) * background)


def neutral_frames(codes: Float[Tensor, "T D"], neutral: Float[Tensor, "D"], share: float) -> Int[Tensor, "n"]:
    """Of frames, the share whose codes are nearest to the neutral one in standard deviations; at least one."""
    spread = codes.std(0, correction=0)
    away = ((codes - neutral) / torch.where(spread > 1e-9, spread, 1.0)).norm(dim=1)
    count = max(1, round(share * len(codes)))
    return away.argsort(stable=True)[:count].sort().values
