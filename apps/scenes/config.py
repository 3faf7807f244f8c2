"""Config of `gs-reg reconstruct`: its flags, which are also the keys of a run's config.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from gs_reg.data_tools.dataset import ReadConfig
from gs_reg.data_tools.depth.sources import DepthSourceConfig
from gs_reg.data_tools.flow import FlowConfig
from gs_reg.errors import InputError
from gs_reg.init.fill import FillConfig
from gs_reg.models.pixel_aligned import PixelAlignedConfig
from gs_reg.render import Backend
from gs_reg.terms.scene import SceneTerms

from ..runs.board import Log
from ..runs.folder import runs_folder
from ..view.live.flags import LiveConfig
from . import presets
from .flags import CoherentStage, FreeStage, TrainConfig


@dataclass(frozen=True)
class Config:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = ""
    """Folder of photos (LLFF, COLMAP, transforms.json, Strecha, Middlebury, or plain photos), or `motorcycle`."""
    read: Annotated[ReadConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadConfig)
    out: Path | None = None
    """Folder of the run; default runs/<name>/<time>."""
    name: str | None = None
    """Name of the run below runs/; default the name of the data folder."""
    preset: presets.Name = "best"
    """Values of all flags that are not given. best: best quality from few photos; rays: Gaussians stay on their pixels'
    rays; plain: splatting without regularisers, for comparison; paper, paper-short: CoherentGS in 13000 or 200 steps;
    ci: a quick test in small copies of the photos."""
    steps: int | None = None
    """Steps of training in all, shared out to the preset's stages in its proportions; default those of the preset."""
    backend: Backend | None = None
    """What draws while training, in every stage. native: our kernels; gsplat: the library (CUDA only); reference: plain
    torch, slow; auto: what suits the device. Default auto."""
    config: Path | None = None
    """YAML file of flags, such as the config.yaml of another run; the command line wins over it."""
    resume: bool = False
    """Continue the run in --out (or the latest of its name) from its last checkpoint, with its own settings."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto = cuda where it is usable."""
    seed: int = 0
    """Seed of everything random."""
    start: presets.Start = "depth"
    """Initial Gaussians: at the measured depth of the photos' pixels, or at random in what the cameras see."""
    depth: DepthSourceConfig = presets.BEST.depth
    flow: FlowConfig = field(default_factory=FlowConfig)
    model: PixelAlignedConfig = presets.BEST.model
    coherent: CoherentStage = presets.BEST.coherent
    fill: FillConfig = presets.BEST.fill
    terms: SceneTerms = presets.BEST.terms
    train: TrainConfig = presets.BEST.train
    free: FreeStage = presets.BEST.free
    stop_after: Literal["init", "train", "report"] = "report"
    """init: stop with the untrained splats; train: without figures and report."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one is also written when the run is interrupted. The two newest are kept."""
    checkpoint_minutes: float = 2.0
    """Minutes after which a checkpoint is written all the same."""
    keep_every: int | None = None
    """Checkpoints whose step is a multiple of this are never deleted."""
    log: Log = "none"
    """tensorboard: scalars and pictures in RUN/tb too (`tensorboard --logdir RUN`)."""
    eval_every: int | None = None
    """Steps between measurements of the held-out photos; default 10 times in a run with --log tensorboard, else
    none before the end."""
    dry_run: bool = False
    """Read the data and print the plan, write nothing."""
    json: bool = False
    """Print result.json on stdout."""
    live: Annotated[LiveConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LiveConfig)

    USUAL: ClassVar[tuple[str, ...]] = (
        *("data", "read.views", "read.train", "read.test", "read.downscale", "read.masks", "out", "preset", "steps"),
        *("backend", "device", "seed", "depth.source", "depth.path", "live.view", "config", "resume", "dry_run"),
        "json",
    )
    """What --help shows; --help-all shows the others too."""

    def for_help(self) -> Config:
        """With the values that --steps and --backend stand for, for the help page."""
        on_rays = self.train.steps if self.start == "depth" else 0
        return replace(self, steps=self.steps or on_rays + self.free.train.steps, backend=self.backend or "auto")

    @property
    def home(self) -> Path:
        """Parent folder of runs without --out."""
        return runs_folder(self.name, self.data)

    @classmethod
    def of_preset(cls, name: object) -> Config:
        """The config with the values of a preset; raises InputError for what is no name of one, of any type."""
        known: dict[str, presets.Name] = {other: other for other in presets.PRESETS}
        if not isinstance(name, str) or name not in known:
            raise InputError(f"preset: expected one of {', '.join(known)}, got {name!r}")
        values = presets.PRESETS[known[name]]
        return cls(preset=known[name], **{f.name: getattr(values, f.name) for f in fields(values)})
