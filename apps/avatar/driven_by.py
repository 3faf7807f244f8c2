"""What an avatar can be driven by: the kinds of sources, and which settings are for which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gs_reg.driving.csv import Angles
from gs_reg.driving.types import check_rate
from gs_reg.errors import InputError

from ..look.video import SUFFIXES
from .bridges import speaks_arkit
from .files import TrainedAvatar

HELD_OUT = "held-out"
VIDEOS = (*SUFFIXES, ".avi", ".webm", ".m4v")

Kind = Literal["sequence", "folder", "driven", "table", "skeleton", "video"]
KINDS: dict[Kind, str] = {
    "sequence": "a sequence of the avatar's own capture",
    "folder": "a folder of another avatar or capture",
    "driven": "the .json of a driven video",
    "table": "a table",
    "skeleton": "a skeleton",
    "video": "a video",
}


@dataclass(frozen=True)
class Reading:
    """How a source is read; flags of all commands that take a source."""

    task: Path | None = None
    """MediaPipe's face_landmarker.task, for videos, and for coefficients where the avatar's prior has others."""
    calibration: Path | None = None
    """Videos: curves of the person (JSON); default the clip's own range."""
    neutral: int | None = None
    """Frame of the source, at its own rate, in which its face is at rest; default found by its codes. Not for own
    sequences and .json."""
    focal: float | None = None
    """Videos: focal length of the camera in pixels; default that of the model's own."""
    degrees: bool = False
    """Tables: angles of head and eyes are in degrees and not in radians."""
    fps: float | None = None
    """Frames a second, 0.1 to 1,000; default those of the source."""
    head: Literal["turns", "still"] = "turns"
    """still: the head stays as in the avatar's neutral frame."""

    @property
    def angles(self) -> Angles:
        return "degrees" if self.degrees else "radians"


def kind_of(avatar: TrainedAvatar, source: str) -> Kind:
    """What `source` names; raises InputError where that is nothing that can drive an avatar."""
    path, sequences = Path(source), avatar.details.sequences
    if source == HELD_OUT or source in sequences:
        return "sequence"
    if path.is_dir():
        return "folder"
    if not path.is_file():
        known = ", ".join([HELD_OUT, *sequences])
        raise InputError(f"{source}: no such file or folder, and no sequence of the avatar's: it has {known}")
    return "driven" if path.suffix.lower() == ".json" else file_kind(path)


def file_kind(path: Path) -> Literal["table", "skeleton", "video"]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return "table"
    if suffix == ".bvh":
        return "skeleton"
    if suffix in VIDEOS:
        return "video"
    raise InputError(f"{path}: expected .csv, .bvh or a video ({', '.join(VIDEOS)}), got {suffix or 'no ending'}")


def check_applies(avatar: TrainedAvatar, source: str, kind: Kind, how: Reading) -> None:
    """Raises InputError, which names the flag, where something is asked for that does not apply to the source, or that
    no source can give."""
    if how.fps is not None:
        check_rate(how.fps, "--fps")
    on_tables = kind == "table" or (kind == "skeleton" and table_beside(Path(source)).is_file())
    by_bridge = kind in ("table", "skeleton") and not speaks_arkit(avatar)
    others = "tables and skeletons where the avatar's prior does not speak ARKit coefficients"
    rules = (
        ("--task", how.task, kind == "video" or by_bridge, f"videos, and for {others}"),
        ("--calibration", how.calibration, kind == "video", "videos"),
        ("--focal", how.focal, kind == "video", "videos"),
        ("--neutral", how.neutral, kind not in ("sequence", "driven"), "tables, skeletons, videos and other folders"),
        ("--degrees", how.degrees or None, on_tables, "tables, and skeletons with a table beside them"),
    )
    for flag, value, applies, sources in rules:
        if value is not None and not applies:
            raise InputError(f"{flag}: {source} is {KINDS[kind]}: give it only for {sources}")


def table_beside(path: Path) -> Path:
    """The table of a skeleton."""
    return path.with_suffix(".csv")
