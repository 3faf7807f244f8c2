"""Presets of `gs-reg reconstruct` as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gs_reg.data_tools.dataset import ReadConfig
from gs_reg.data_tools.depth.sources import DepthSourceConfig
from gs_reg.init.fill import FillConfig
from gs_reg.models.coherent import CoherentConfig
from gs_reg.models.free import FreeConfig
from gs_reg.models.pixel_aligned import PixelAlignedConfig
from gs_reg.optim import OptimConfig
from gs_reg.terms.correspondence import FlowConsistency
from gs_reg.terms.photometric import L1, MultiLevelL1, Ssim
from gs_reg.terms.scene import SceneTerms
from gs_reg.terms.smoothness import DisparityTV, LayeredTV

from .flags import CoherentStage, FreeStage, TrainConfig

Start = Literal["depth", "random"]


@dataclass(frozen=True)
class Preset:
    """Everything that decides the result, except for the photos and the seed."""

    read: ReadConfig = ReadConfig()
    start: Start = "depth"
    depth: DepthSourceConfig = DepthSourceConfig()
    model: PixelAlignedConfig = PixelAlignedConfig()
    coherent: CoherentStage = CoherentStage()
    fill: FillConfig = FillConfig()
    terms: SceneTerms = SceneTerms()
    train: TrainConfig = TrainConfig()
    free: FreeStage = FreeStage()


BEST = Preset(
    depth=DepthSourceConfig(finer=2.0, sweep_pixels=800_000),
    model=PixelAlignedConfig(stride=2),
    fill=FillConfig(border=0.15, stride=4),
    train=TrainConfig(steps=0),
    free=FreeStage(
        FreeConfig(max_aspect=8.0, aspect_from=8.0),
        SceneTerms(smooth=DisparityTV(0.4)),
        TrainConfig(steps=800, dropout=0.4),
    ),
)
"""Best quality on held-out views that we know of."""

RAYS = Preset(fill=FillConfig(border=0.15, stride=4))
"""One Gaussian a pixel, which stays on its ray: CoherentGS without decoders, alignment and flow, but filled."""

PLAIN = Preset(
    start="random",
    free=FreeStage(
        FreeConfig(opacity=0.1, lr_offset=1.4e-2, lr_quat=1e-3, lr_scale=5e-3, lr_color=2.5e-3),
        train=TrainConfig(steps=2000),
    ),
)
"""Plain splatting in the same loop: from random Gaussians, with the usual rates and no regulariser."""

PAPER = Preset(
    model=PixelAlignedConfig(sh_degree=3, lr_color=1e-3, lr_scale=1e-4),
    coherent=CoherentStage(on=True),
    terms=SceneTerms(
        l1=L1(0.0),
        pyramid=MultiLevelL1(0.8),
        ssim=Ssim(0.2),
        layered=LayeredTV(0.5, start=0.35),
        flow=FlowConsistency(0.02),
    ),
    train=TrainConfig(
        steps=13_000,
        multisample=4,
        multisample_from=5 / 13,
        random_background=0.0,
        sh_from=(8 / 13, 9 / 13, 10 / 13),
        optim=OptimConfig(final_rate=1.0),
    ),
)
"""CoherentGS as published, for a GPU: half-pixel and other faults corrected, the term on VGG features left out."""

PAPER_SHORT = replace(
    PAPER,
    model=replace(PAPER.model, lr_color=5e-3),
    coherent=CoherentStage(
        on=True, decoders=CoherentConfig(capacity=8, shrink=2, lr_depth=2e-3, lr_opacity=2e-4, half_cycles=4)
    ),
    train=replace(PAPER.train, steps=200, multisample=3),
)
"""The same in 200 steps instead of 13,000, with small decoders, for a CPU."""

CI = Preset(
    read=ReadConfig(long_side=256),
    depth=DepthSourceConfig(sources=2, max_planes=64, sweep_pixels=20_000),
    model=PixelAlignedConfig(max_gaussians=50_000),
    train=TrainConfig(steps=10),
    free=FreeStage(FreeConfig(opacity=0.9), train=TrainConfig(steps=20)),
)
"""A test of the whole pipeline in small copies of the photos, within a minute on two cores."""

Name = Literal["best", "rays", "paper", "paper-short", "plain", "ci"]
PRESETS: dict[Name, Preset] = {
    "best": BEST,
    "rays": RAYS,
    "paper": PAPER,
    "paper-short": PAPER_SHORT,
    "plain": PLAIN,
    "ci": CI,
}
