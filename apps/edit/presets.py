"""Presets of `gs-reg edit` as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gs_reg.densify import DensifyConfig
from gs_reg.diffusion.sds import SdsConfig
from gs_reg.diffusion.slamp import SlampConfig
from gs_reg.models.part_edit import PartEditConfig
from gs_reg.parts.anchors import AnchorConfig
from gs_reg.parts.field import FieldConfig
from gs_reg.terms.guidance import EditTerms
from gs_reg.terms.photometric import Ssim

NEGATIVE = "blurry, noisy, low quality, bad quality, distorted, deformed, watermark, text"


@dataclass(frozen=True)
class Guidance:
    """How much the model judges renders, beside the edited pictures."""

    weight: float = 1.0
    """Of score distillation; 0 = edited pictures alone."""
    balance: float = 3.0
    """Of the edited pictures' gradient over that of score distillation, inside the masks."""
    fine_u: float = 0.4
    """Largest noise in the fine stage, as a raw fraction."""
    sds: SdsConfig = SdsConfig()


@dataclass(frozen=True)
class Preset:
    """Everything that decides the result, except for the scene, the words and the seed."""

    views: int = 48
    fit: FieldConfig = FieldConfig()
    anchors: AnchorConfig = AnchorConfig()
    slamp: SlampConfig = SlampConfig()
    terms: EditTerms = EditTerms()
    guidance: Guidance = Guidance()
    model_edit: PartEditConfig = PartEditConfig(lr_color=0.05)
    coarse: int = 400
    """Steps from a part without its colour."""
    fine: int = 200
    """Steps after these."""


BEST = Preset()
PAPER = Preset(
    fit=FieldConfig(solver="adam", view_rounds=0),
    anchors=AnchorConfig(fill=0.0, candidates=1, words="mixed", keep=False),
    slamp=SlampConfig(mode="clean"),
    model_edit=PartEditConfig(),
    guidance=Guidance(sds=SdsConfig(guidance=100.0, rescale=0.0, u_end=0.70)),
    coarse=600,
    fine=300,
)
FAST = Preset(
    views=24,
    fit=FieldConfig(solver="linear"),
    anchors=AnchorConfig(count=6),
    terms=EditTerms(ssim=Ssim(0.2)),
    guidance=Guidance(weight=0.0),
    coarse=300,
    fine=0,
)
GROWTH = DensifyConfig(method="mcmc", start=0.22, stop=0.9, every=50, noise=0.0)
"""Within the part, with --shape."""

Name = Literal["best", "fast", "paper"]
PRESETS: dict[Name, Preset] = {"best": BEST, "fast": FAST, "paper": PAPER}


def step_counts(steps: int | None, coarse: int, fine: int) -> tuple[int, int]:
    """Steps of coarse and fine: both as given, or `steps` in all in their proportion."""
    if steps is None:
        return coarse, fine
    share = round(steps * fine / max(coarse + fine, 1))
    return steps - share, share
