"""Flags of `gs-reg avatar train`, which are also the keys of a run's config.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from gs_reg.densify.clusters import ClusterConfig
from gs_reg.errors import InputError
from gs_reg.fields.distill import DistillConfig
from gs_reg.models.avatar import AvatarConfig
from gs_reg.models.avatar.start import CloudConfig
from gs_reg.models.rig_bound import RigBoundConfig
from gs_reg.terms.avatar import AvatarTerms
from gs_reg.terms.rig_bound import RigBoundTerms

from ..runs.board import Log
from ..runs.folder import runs_folder
from ..view.live.flags import LiveConfig
from . import presets

Method = Literal["fields", "rig-bound"]


@dataclass(frozen=True)
class Config:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")] = ""
    """Folder of a capture: NeRSemble (v1, v2, benchmark), GaussianAvatars, Gaussian-Head-Avatar, or of `avatar
    synth`."""
    preset: presets.Name = "best"
    """Values of all flags that are not given. best: ours, for a GPU; paper: as near to NPGA as is known; fast: half an
    hour on two cores; short, demo, ci: less."""
    prior_folder: Path | None = None
    """Folder or file of the expression prior whose codes the capture has, where it is no part of a package."""
    held_out: tuple[str, ...] | None = None
    """Sequences that nothing is trained on; default those of the capture."""
    held_out_cameras: tuple[str, ...] | None = None
    """Cameras that nothing is trained on; default those of the capture."""
    width: int | None = None
    """Width of the pictures that are trained on; default as they are."""
    method: Method = "fields"
    """fields: coarse and detail field; rig-bound: Gaussians in the frames of the prior's triangles, the rival."""
    coarse: bool = True
    """Use the coarse field, distilled from the prior; without it the detail field must do everything."""
    latents: bool = True
    """Give each Gaussian a latent vector."""
    heads: tuple[str, ...] = presets.BEST.heads
    """Outputs of the detail field: pos, rot, scale, opacity, color; none = without the field."""
    cloud: CloudConfig = presets.BEST.cloud
    model: AvatarConfig = presets.BEST.model
    distil: DistillConfig = presets.BEST.distil
    terms: AvatarTerms = presets.BEST.terms
    density: ClusterConfig = presets.BEST.density
    clusters: int = 8
    """Clusters of expressions, by which frames are drawn and Gaussians grow."""
    rig: RigBoundConfig = RigBoundConfig()
    rig_terms: RigBoundTerms = RigBoundTerms()
    views: int = presets.BEST.views
    """Cameras of a step, all of one frame."""
    steps: int | None = None
    """Steps of training in all, shared out to the stages in their proportions; default those of the preset."""
    warm_up: int = presets.BEST.warm_up
    """Steps on the most neutral frames, without the detail field."""
    joint: int = presets.BEST.joint
    """Steps on all frames."""
    screen: int = presets.BEST.screen
    """Steps with a network in screen space, which exports for other players are without; 0 = no such network."""
    degree_every: int = presets.BEST.degree_every
    """Steps after which one more degree of spherical harmonics is in use; 0 = all from the start."""
    allow_bad_distill: bool = presets.BEST.allow_bad_distill
    """Go on where the distilled field fails its gates; the presets fast, short, demo and ci do, and say
    by how much."""
    probes: int = presets.BEST.probes
    """Training codes by which the graph of neighbours finds slits, such as that between the lips."""
    eval_frames: int = presets.BEST.eval_frames
    """Frames that each protocol is measured on, evenly picked."""
    lpips: tuple[Path, ...] = ()
    """Published weights of LPIPS, or folders with them: of the backbone (vgg16-*.pth) and its heads (vgg.pth)."""
    licence: str = ""
    """Licence of the photos, which the avatar's file keeps."""
    consent: str = ""
    """Who the person is, and what they agreed to; the avatar's file keeps it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = cuda where it is usable."""
    seed: int = 0
    """Seed of everything random."""
    out: Path | None = None
    """Folder of the run; default runs/<name>/<time>."""
    name: str | None = None
    """Name of the run below runs/; default avatar-<capture>."""
    config: Path | None = None
    """YAML file of flags, such as the config.yaml of another run; the command line wins over it."""
    resume: bool = False
    """Continue the run in --out (or the latest of its name), with its own settings."""
    dry_run: bool = False
    """Print the plan; write nothing."""
    json: bool = False
    """Print result.json on stdout."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; one is also written when the run is interrupted."""
    checkpoint_minutes: float = 2.0
    """Minutes after which a checkpoint is written all the same."""
    live: Annotated[LiveConfig, tyro.conf.OmitArgPrefixes] = LiveConfig()

    log: Log = "none"
    """tensorboard: scalars and pictures in RUN/tb too (`tensorboard --logdir RUN`)."""
    eval_every: int | None = None
    """Steps between measurements of held-out frames; default 10 times in a run with --log tensorboard, else
    none before the end."""

    USUAL: ClassVar[tuple[str, ...]] = (
        *("data", "preset", "prior_folder", "held_out", "held_out_cameras", "width", "heads", "views", "steps"),
        *("screen", "allow_bad_distill", "eval_frames", "lpips", "licence", "consent", "device", "seed"),
        *("out", "name", "live.view", "config", "resume", "dry_run", "json"),
    )
    """What --help shows; --help-all shows the others too."""

    def for_help(self) -> Config:
        return self

    @property
    def home(self) -> Path:
        """Parent folder of runs without --out."""
        return runs_folder(self.name or f"avatar-{Path(self.data).resolve().name}", self.data)

    @property
    def stage_steps(self) -> dict[str, int]:
        """Steps of each stage, in their order; without the distilling."""
        stages = {"warm-up": self.warm_up, "joint": self.joint, "screen": self.screen}
        if self.steps is None:
            return stages
        total = max(sum(stages.values()), 1)
        shared = {name: round(self.steps * count / total) for name, count in stages.items()}
        shared["joint"] += self.steps - sum(shared.values())
        return shared

    @classmethod
    def of_preset(cls, name: object) -> Config:
        """The config with the values of a preset; raises InputError for what is no name of one, of any type."""
        known: dict[str, presets.Name] = {other: other for other in presets.PRESETS}
        if not isinstance(name, str) or name not in known:
            raise InputError(f"preset: expected one of {', '.join(known)}, got {name!r}")
        values = presets.PRESETS[known[name]]
        given: dict[str, Any] = {f.name: getattr(values, f.name) for f in fields(values)}
        return cls(preset=known[name], **given)
