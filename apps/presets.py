"""Presets of `gs-reg reconstruct` as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gs_reg.data_tools.depth.sources import DepthSourceConfig
from gs_reg.fit import FitConfig
from gs_reg.models.free import FreeConfig
from gs_reg.models.pixel_aligned import PixelAlignedConfig
from gs_reg.models.unseen import FillConfig
from gs_reg.terms.scene import SceneTerms

from .stages import FreeStage

Start = Literal["depth", "random"]


@dataclass(frozen=True)
class Preset:
    """All that decides what comes out, but for the photos and the seed."""

    start: Start = "depth"
    depth: DepthSourceConfig = DepthSourceConfig()
    model: PixelAlignedConfig = PixelAlignedConfig()
    fill: FillConfig = FillConfig()
    terms: SceneTerms = SceneTerms()
    train: FitConfig = FitConfig()
    free: FreeStage = FreeStage()


BEST = Preset(
    depth=DepthSourceConfig(finer=2.0, sweep_pixels=800_000),
    model=PixelAlignedConfig(stride=3),
    fill=FillConfig(border=0.15, stride=4),
    train=FitConfig(steps=0),
    free=FreeStage(FreeConfig(), SceneTerms(), FitConfig(steps=1000, dropout=0.2)),
)
"""The best pictures that we know how to make."""

RAYS = Preset()
"""One Gaussian a pixel, which stays on its ray: CoherentGS without decoders, alignment and flow."""

PLAIN = Preset(
    start="random",
    free=FreeStage(
        FreeConfig(opacity=0.1, lr_offset=1.4e-2, lr_quat=1e-3, lr_scale=5e-3, lr_color=2.5e-3),
        train=FitConfig(steps=2000),
    ),
)
"""Plain splatting in the same loop: from random Gaussians, with the usual rates and no regulariser."""

CI = Preset(
    model=PixelAlignedConfig(max_gaussians=50_000),
    train=FitConfig(steps=10),
    free=FreeStage(FreeConfig(opacity=0.5), train=FitConfig(steps=20)),
)
"""To see within a minute, on any machine, that everything works."""

PRESETS = {"best": BEST, "rays": RAYS, "plain": PLAIN, "ci": CI}
Name = Literal["best", "rays", "plain", "ci"]
