"""Flags of the stages of `gs-reg reconstruct`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gs_reg.densify import DensifyConfig
from gs_reg.dropout import Dropout
from gs_reg.fit import FitConfig
from gs_reg.models.coherent import CoherentConfig
from gs_reg.models.free import FreeConfig
from gs_reg.render import RenderConfig
from gs_reg.terms.scene import SceneTerms


@dataclass(frozen=True)
class TrainConfig(FitConfig):
    """How the steps of a stage are made, one photo each."""

    render: RenderConfig = field(default_factory=RenderConfig)
    multisample: int = 1
    """Each step draws at a random whole multiple of the size up to this one, and averages down; 1 = never."""
    multisample_from: float = 0.4
    """Share of the run after which it does so."""
    sh_from: tuple[float, ...] = ()
    """Shares of the run after which colour of degree 1, 2 and 3 is drawn; degrees without one are from the start."""
    dropout: float = 0.0
    """Share of the Gaussians that each step leaves out at random; below 1."""

    def __post_init__(self) -> None:
        Dropout(self.dropout)  # refuses what is no share


@dataclass(frozen=True)
class CoherentStage:
    on: bool = False
    """Start from relative disparity and decode depth and opacity, as CoherentGS does."""
    align: bool = True
    """Scale and offset of each photo's disparity from flow (stage A); otherwise one scale for all photos."""
    flow: Literal["depth", "source"] = "depth"
    """depth: flow between the photos is what their measured depths mean; source: that of --flow.source."""
    bend: float = 0.0
    """Bend aligned disparity towards the flow, the more smoothly the larger this is; 0 = leave it (as published)."""
    decoders: CoherentConfig = field(default_factory=CoherentConfig)


@dataclass(frozen=True)
class FreeStage:
    """Gaussians that may leave their rays; 0 steps = none."""

    model: FreeConfig = field(default_factory=FreeConfig)
    terms: SceneTerms = field(default_factory=SceneTerms)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=0))
    densify: DensifyConfig = DensifyConfig()
