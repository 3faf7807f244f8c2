"""Splats written where the user asked, in the format of the name, and what was lost on the way in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gs_reg.clean import with_degree
from gs_reg.errors import InputError
from gs_reg.io import WRITABLE, format_of, gltf, save_splats, spz, usd
from gs_reg.io.html import save_html

from ..runs.progress import plural, say, stage_bar
from .frame_note import note_frame
from .opened import Opened

HTML = ".html"
TARGETS = (*WRITABLE, HTML)
"""Endings of what splats can be written as."""
AXES = {".spz": spz.AXES, ".glb": gltf.AXES, **dict.fromkeys(usd.SUFFIXES, usd.AXES)}


@dataclass(frozen=True)
class Writing:
    """Flags of all commands that write splats."""

    sh_degree: int | None = None
    """Leave out view-dependent colour above this degree, 0 to 3."""
    spz_version: Literal[3, 4] = 4
    """Version of .spz: 4 is smaller, older viewers read only 3."""
    spz_frame: Literal["rub", "raw"] = "rub"
    """Axes in .spz files: rub = right, up, back, as the format says; raw = the numbers as they are, which some programs
    read and write."""
    overwrite: bool = False
    """Replace a file that is already there."""


def check_target(to: Path, source: Path, writing: Writing) -> None:
    """Refuses what cannot be written before anything is read; raises InputError."""
    name = to.name.lower()
    if not name.endswith(TARGETS):
        raise InputError(f"{to}: expected a name ending with one of {', '.join(TARGETS)}")
    if writing.spz_version != 4 and not name.endswith(".spz"):
        raise InputError(f"--spz-version is for .spz only, got {to}")
    if writing.spz_frame != "rub" and not name.endswith(".spz") and source.suffix.lower() != ".spz":
        raise InputError(f"--spz-frame is for .spz only, got {source} and {to}")
    if to.exists() and not writing.overwrite:
        raise InputError(f"{to}: exists; name another file or pass --overwrite")


def write_splats(to: Path, opened: Opened, writing: Writing, title: str, noted: bool = False) -> None:
    """Writes the file and says its size, how exact it is, and what its format cannot hold; `noted`: as in save()."""
    with stage_bar("export") as progress:
        progress(f"writing {to.name}", 0.0)
        lines = save(to, opened, writing, title, noted)
    before, after = opened.file.stat().st_size, to.stat().st_size
    say(f"wrote {to}: {plural(len(opened.splats), 'Gaussian')}, {after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)")
    for line in (*opened.notes, *lines):
        say(f"  {line}")


def save(to: Path, opened: Opened, writing: Writing, title: str, noted: bool = False) -> tuple[str, ...]:
    """Writes the file; returns in words how exact its format is, and whether it leaves the offset out.

    What else is lost is logged by save_splats. `noted`: scene.json beside it is written in any case, else where more is
    known of the frame than the file's own numbers.
    """
    splats = with_degree(opened.splats, writing.sh_degree)
    if to.name.lower().endswith(HTML):
        save_html(to, splats, opened.cameras, title=title, near=opened.near)
        lines: tuple[str, ...] = ()
    else:
        save_splats(
            to,
            splats,
            render_mode=opened.render_mode,
            spz_version=writing.spz_version,
            spz_frame=writing.spz_frame,
            offset=opened.offset,
        )
        kind = format_of(to, WRITABLE)
        lines = (f"{kind.suffix}: {kind.precision}", *kind.lost(0, "default", opened.offset))
    if noted or opened.cameras or any(opened.offset or ()):
        lines = (*lines, note_frame(to, opened, axes_of(to, writing)))
    return lines


def axes_of(to: Path, writing: Writing = Writing()) -> tuple[int, int, int]:
    """The signs that turn our axes, right, down, forward, to those of the numbers in such a file."""
    if to.name.lower().endswith(HTML) or (to.suffix.lower() == ".spz" and writing.spz_frame == "raw"):
        return (1, 1, 1)
    return AXES.get(format_of(to, WRITABLE).suffix, (1, 1, 1))
