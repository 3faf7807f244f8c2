"""Presets of `gs-reg avatar train` as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gs_reg.densify.clusters import ClusterConfig
from gs_reg.fields.detail import HEADS
from gs_reg.fields.distill import DistillConfig
from gs_reg.models.avatar import AvatarConfig
from gs_reg.models.avatar.start import CloudConfig
from gs_reg.terms.avatar import AvatarTerms, HeadInputs, NearDistilled


@dataclass(frozen=True)
class Preset:
    """Everything that decides the result, except for the capture and the seed."""

    cloud: CloudConfig = CloudConfig()
    model: AvatarConfig = AvatarConfig()
    heads: tuple[str, ...] = tuple(HEADS)
    distil: DistillConfig = DistillConfig(bumps=2_048)
    """With so many bumps anny and ICT-FaceKit pass all gates, also under codes of expressions that were not seen."""
    terms: AvatarTerms = AvatarTerms()
    density: ClusterConfig = ClusterConfig()
    views: int = 4
    """Cameras of a step."""
    warm_up: int = 2_000
    joint: int = 100_000
    screen: int = 0
    degree_every: int = 2_000
    eval_frames: int = 48
    allow_bad_distill: bool = False
    """Go on where the distilled field fails its gates; short runs must, and say by how much."""
    probes: int = 64
    """Training codes by which the graph finds slits, at every rebuild."""


BEST = Preset()
PAPER = replace(
    BEST,
    model=AvatarConfig(jacobian="none", gates=False, sh_frame="world", detail_full=0.0, stretch_colors=False),
    joint=200_000,
    screen=10_000,
)
"""As near to what is known of the paper as our parts go: no Jacobian, no gates, with the network in screen space."""
FAST = Preset(
    cloud=CloudConfig(points=15_000, mouth=1_500, eyes=800, rims=2_500, face=5_000),
    model=AvatarConfig(
        opacity=0.9,
        sh_degree=1,
        rebuild_every=400,
        lr_means=2e-4,
        lr_quat=2e-3,
        lr_scale=1.7e-2,
        lr_opacity=5e-2,
        lr_color=4e-3,
        lr_coarse=5e-5,
        lr_detail=2e-3,
        lr_latent=2e-2,
        lr_code=3e-3,
        lr_pose=2e-4,
    ),
    distil=DistillConfig(steps=6_000),
    terms=AvatarTerms(heads=HeadInputs(1e-4), near=NearDistilled(0.3)),
    density=ClusterConfig(cap=32_000, every=150, views=4, weigh_every=10),
    warm_up=600,
    joint=4_800,
    degree_every=500,
    eval_frames=24,
    allow_bad_distill=True,
    probes=24,
)
"""Minutes on two cores for captures of about 200x292."""
SHORT = replace(
    FAST,
    model=replace(
        FAST.model,
        rebuild_every=150,
        lr_means=3e-4,
        lr_quat=3e-3,
        lr_scale=1.7e-2,
        lr_opacity=5e-2,
        lr_color=5e-3,
        lr_latent=3e-2,
        lr_detail=3e-3,
    ),
    terms=replace(FAST.terms, near=NearDistilled(0.3, samples=512)),
    density=replace(FAST.density, cap=26_000, every=50),
    warm_up=40,
    joint=260,
    degree_every=100,
    eval_frames=12,
)
"""As many Gaussians in a sixth of the steps, which are larger, for many trainings one after the other."""
DEMO = replace(
    FAST,
    cloud=CloudConfig(points=5_000, mouth=900, eyes=500, rims=1_600, face=3_000),
    distil=replace(BEST.distil, steps=4_000),
    density=replace(FAST.density, cap=14_000),
    views=3,
    warm_up=120,
    joint=900,
    eval_frames=8,
)
CI = replace(
    FAST,
    cloud=CloudConfig(points=800, mouth=150, eyes=80, rims=150, face=250),
    model=replace(FAST.model, sh_degree=0, rebuild_every=20),
    distil=replace(BEST.distil, steps=30, bumps=0),
    density=replace(FAST.density, cap=1_600, every=15),
    views=2,
    warm_up=6,
    joint=30,
    degree_every=0,
    eval_frames=2,
)

Name = Literal["best", "paper", "fast", "short", "demo", "ci"]
PRESETS: dict[Name, Preset] = {"best": BEST, "paper": PAPER, "fast": FAST, "short": SHORT, "demo": DEMO, "ci": CI}
