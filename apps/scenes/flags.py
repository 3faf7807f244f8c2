"""Flags of the stages of `gs-reg reconstruct`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gs_reg.densify import DensifyConfig
from gs_reg.dropout import Dropout
from gs_reg.errors import InputError
from gs_reg.fit import FitConfig
from gs_reg.models.coherent import CoherentConfig
from gs_reg.models.free import FreeConfig
from gs_reg.render import RenderConfig
from gs_reg.terms.scene import SceneTerms


@dataclass(frozen=True)
class TrainConfig(FitConfig):
    """Training of a stage; each step renders one photo."""

    render: RenderConfig = field(default_factory=RenderConfig)
    multisample: int = 1
    """Largest factor of supersampling: each step renders at a random factor from 1 to this; 1 = never."""
    multisample_from: float = 0.4
    """Share of the run after which steps are supersampled."""
    sh_from: tuple[float, ...] = ()
    """Shares of the run after which SH degrees 1, 2 and 3 are used; degrees without a share are used from the start."""
    dropout: float = 0.0
    """Probability that a Gaussian is left out of a step; below 1."""
    random_background: float = 1.0
    """Probability that a step's photo is drawn over a random colour, so that splats which let it through raise the
    loss; else it is drawn over the mean colour of the photos. 1 always where masked pixels must be empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Dropout(self.dropout)  # raises where the share is out of range
        if not 0 <= self.random_background <= 1:
            raise InputError(f"random_background: expected a share from 0 to 1, got {self.random_background}")


@dataclass(frozen=True)
class CoherentStage:
    on: bool = False
    """Train as CoherentGS: initialise from relative disparity, decode depth and opacity."""
    align: bool = True
    """Scale and offset of each photo's disparity from flow (stage A); otherwise one scale for all photos."""
    flow: Literal["depth", "source"] = "depth"
    """depth: flow is computed from the measured depths; source: flow from --flow.source."""
    bend: float = 0.0
    """Smoothness of a correction of the aligned disparity towards the flow; 0 = no correction (as published)."""
    decoders: CoherentConfig = field(default_factory=CoherentConfig)


@dataclass(frozen=True)
class FreeStage:
    """Gaussians that may leave their rays; 0 steps = none."""

    model: FreeConfig = field(default_factory=FreeConfig)
    terms: SceneTerms = field(default_factory=SceneTerms)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=0))
    densify: DensifyConfig = DensifyConfig()
