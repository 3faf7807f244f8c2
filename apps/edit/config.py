"""Flags of `gs-reg edit parts`, `run` and `views`, which are also the keys of a run's config.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from gs_reg.densify import DensifyConfig
from gs_reg.diffusion.slamp import SlampConfig
from gs_reg.errors import InputError
from gs_reg.models.part_edit import PartEditConfig
from gs_reg.parts.anchors import AnchorConfig
from gs_reg.parts.field import FieldConfig
from gs_reg.terms.guidance import EditTerms

from ..runs.board import Log
from ..runs.folder import runs_folder
from ..view.live.flags import LiveConfig
from . import presets
from .orbit import Up
from .presets import Guidance

Background = Literal["auto", "black", "grey", "white"]
SHADES: dict[Background, float | None] = {"auto": None, "black": 0.0, "grey": 0.5, "white": 1.0}


@dataclass(frozen=True)
class PartsConfig:
    """What is needed to find parts."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")] = ""
    """Folder of a run, or a splat file (.ply, .compressed.ply, .spz, .splat)."""
    object: str = ""
    """What the scene shows, in words: "a photo of a man"."""
    parts: str = ""
    """Names of its parts, small ones first, with commas between them: eyes,nose,hair. `eyes:0.1` reads the maps of the
    eyes at temperature 0.1; smaller is tighter."""
    cameras: Path | None = None
    """Cameras to look from: a transforms.json, or the folder of a COLMAP model; the photos need not exist. Default
    those of the run, else rings around the object."""
    up: Up = "y-down"
    """Which way is up, for rings of cameras."""
    teacher: str = "sd3"
    """Who says where parts are. sd3: attention of the pipeline in --model; clipseg, sam3, sam2, grounded: networks in
    --teacher-model; masks:DIR: your pictures DIR/<view>/<part>.png; clicks: your --clicks; gt:DIR: true part ids;
    ensemble:A+B: several."""
    teacher_model: tuple[Path, ...] = ()
    """Folders of networks of transformers, for the teachers that need one."""
    clicks: tuple[str, ...] = ()
    """Clicks and boxes: PART=VIEW:X,Y in pixels, PART=VIEW:X0,Y0,X1,Y1, or PART=X0,Y0,Z0,X1,Y1,Z1 in space; ! before
    PART = not part of it."""
    model: str | None = None
    """Folder of a pipeline of diffusers (model_index.json), or the name of one in the local cache of Hugging Face."""
    allow_download: bool = False
    """Let --model be downloaded."""
    labels: Path | None = None
    """Folder of an earlier `edit parts` or `edit run` of the same splats, views and parts: its maps are taken."""
    keep_renders: bool = False
    """Keep the pictures of its views, up to 256 MB, for edits that name this run with --labels."""
    preset: presets.Name = "best"
    """Values of all flags that are not given. paper: RoMaP as published; best: closed-form labels, 8 anchors and
    guidance by the model; fast: anchors alone."""
    views: int = presets.BEST.views
    """Views that the teacher sees; given cameras are thinned out evenly, or others put on a path through them."""
    size: int | None = None
    """Longer side of the pictures; default what --model was made for, else 512."""
    background: Background = "auto"
    """Behind the splats; auto = that of the run, else white."""
    threshold: float = 0.5
    """Least probability with which a Gaussian belongs to a part."""
    island: int = 20
    """Connected groups of fewer Gaussians go to the parts around them."""
    fit: FieldConfig = presets.BEST.fit
    vram_gb: float | None = None
    """Memory that may be used on the GPU; refused before the start where it is too little."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = cuda where it is usable."""
    seed: int = 0
    """Seed of everything random."""
    out: Path | None = None
    """Folder of the run; default runs/<name>/<time>."""
    name: str | None = None
    """Name of the run below runs/; default edit-<scene>."""
    config: Path | None = None
    """YAML file of flags, such as the config.yaml of another run; the command line wins over it."""
    resume: bool = False
    """Continue the run in --out (or the latest of its name), with its own settings."""
    dry_run: bool = False
    """Print the plan: views, calls of the model by purpose, memory; write nothing."""
    json: bool = False
    """Print result.json on stdout."""

    USUAL: ClassVar[tuple[str, ...]] = (
        *("data", "object", "parts", "cameras", "up", "teacher", "teacher_model", "clicks", "model", "labels"),
        *("preset", "views", "size", "background", "threshold", "island", "vram_gb", "device", "seed"),
        *("out", "config", "resume", "dry_run", "json"),
    )
    """What --help shows; --help-all shows the others too."""

    def for_help(self) -> PartsConfig:
        return self

    @property
    def home(self) -> Path:
        """Parent folder of runs without --out."""
        path = Path(self.data).resolve()
        dated = path.is_dir() and path.name[:8].isdigit()
        stem = path.parent.name if dated else path.name.split(".")[0] if path.is_file() else path.name
        return runs_folder(self.name or f"edit-{stem}", self.data)

    @property
    def part_names(self) -> tuple[str, ...]:
        return tuple(word.rpartition(":")[0].strip() or word.strip() for word in self._part_words)

    @property
    def part_taus(self) -> tuple[float | None, ...]:
        """Temperature of each part; None = the teacher's own."""
        return tuple(_tau(word) for word in self._part_words)

    @property
    def _part_words(self) -> list[str]:
        return self.parts.split(",") if self.parts else []

    @classmethod
    def of_preset(cls, name: object) -> Any:
        """The config with the values of a preset; raises InputError for what is no name of one, of any type."""
        known: dict[str, presets.Name] = {other: other for other in presets.PRESETS}
        if not isinstance(name, str) or name not in known:
            raise InputError(f"preset: expected one of {', '.join(known)}, got {name!r}")
        values, mine = presets.PRESETS[known[name]], {f.name for f in fields(cls)}
        return cls(preset=known[name], **{f.name: getattr(values, f.name) for f in fields(values) if f.name in mine})


@dataclass(frozen=True)
class Config(PartsConfig):
    """What is needed to change a part."""

    part: str = ""
    """The part to change: one of --parts."""
    edit: str = ""
    """What it shall be: "a croissant nose"."""
    negative: str | None = None
    """What it shall not be; default the words in the model's teacher.json, else of bad quality. Words that a network
    never learnt spoil what it makes."""
    remove: bool = False
    """Take the part away instead; what is behind it shows."""
    shape: bool = False
    """Change the shape too, not the colours alone: Gaussians move, come and go within reach of the part."""
    grow: float = 0.0
    """How far around the part edited pictures may reach, in radii of the part as each view shows it; above 0 with
    --shape, it can become larger."""
    editor: str = "slamp"
    """Who makes the edited pictures. slamp: inpainting with --model; sd3-inpaint: diffusers' on the same weights;
    diffusers:FOLDER: any pipeline for inpainting; folder:DIR: pictures that you edited (see `gs-reg edit views`)."""
    anchors: AnchorConfig = presets.BEST.anchors
    go_on: float = 0.6
    """How far up the noise path an anchor goes that shows earlier edits, 0 to 1: low stays closer to them."""
    retries: int = 2
    """Other seeds that are tried for an anchor that does not agree with the first one; then it is left out."""
    neutral: Literal["grey", "white", "black", "none"] = "grey"
    """Colour that the part gets before the edit, so that its old look does not hold that back; none = its own."""
    slamp: SlampConfig = presets.BEST.slamp
    model_edit: PartEditConfig = presets.BEST.model_edit
    densify: DensifyConfig = presets.GROWTH
    terms: EditTerms = presets.BEST.terms
    guidance: Guidance = presets.BEST.guidance
    scores_model: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """A folder of a network of transformers that the edit is scored with; may be given again. CLIPModel for CLIP score
    and direction, BlipForQuestionAnswering for BLIP-VQA and TIFA; scores without their weights are null in result.json.
    """
    scores_questions: Path | None = None
    """JSON file of TIFA's questions about the edit: a list of maps with question, choices and answer."""
    lpips: tuple[Path, ...] = ()
    """Published weights of LPIPS, or folders with them: of the backbone (vgg16-*.pth) and its heads (vgg.pth)."""
    steps: int | None = None
    """Steps of optimising in all, shared out to coarse and fine in their proportions; default both."""
    coarse: int = presets.BEST.coarse
    """Steps from a part without its colour."""
    fine: int = presets.BEST.fine
    """Steps after these, with less noise."""
    checkpoint_every: int = 100
    """Steps between checkpoints; one is also written when the run is interrupted."""
    checkpoint_minutes: float = 2.0
    """Minutes after which a checkpoint is written all the same."""
    live: Annotated[LiveConfig, tyro.conf.OmitArgPrefixes] = LiveConfig()
    log: Log = "none"
    """tensorboard: scalars and pictures in RUN/tb too (`tensorboard --logdir RUN`)."""
    eval_every: int | None = None
    """Steps between pictures of the anchors; default 10 times in a run with --log tensorboard, else
    none before the end."""

    USUAL: ClassVar[tuple[str, ...]] = (
        *PartsConfig.USUAL[:3],
        *("part", "edit", "remove", "shape", "grow", "editor", "steps"),
        *PartsConfig.USUAL[3:],
        *("scores_model", "live.view"),
    )


def _tau(word: str) -> float | None:
    _, colon, number = word.rpartition(":")
    if not colon:
        return None
    try:
        tau = float(number)
    except ValueError:
        raise InputError(f"--parts: {word.strip()!r}: expected a name, or a name, a colon and a number") from None
    if not 0 < tau < math.inf:
        raise InputError(f"--parts: {word.strip()!r}: expected a temperature above 0, got {tau:g}")
    return tau
