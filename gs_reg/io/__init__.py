"""Splat files: PLY, compressed PLY, SPZ and .splat, chosen by suffix."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.io.compressed_ply import load_compressed_ply, save_compressed_ply
from gs_reg.io.frames import transform_splats
from gs_reg.io.ply import load_ply, read_header, save_ply
from gs_reg.io.splat import load_splat, save_splat
from gs_reg.io.spz import SpzFrame, load_spz, save_spz
from gs_reg.types import Splats

__all__ = ["SUFFIXES", "load_splats", "read_offset", "save_splats", "splat_suffix"]

log = logging.getLogger(__name__)

SUFFIXES = (".compressed.ply", ".ply", ".spz", ".splat")


def splat_suffix(path: str | Path) -> str:
    """The one of SUFFIXES that the file name ends with; raises InputError for any other."""
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise InputError(f"{path}: expected a splat file ending with {', '.join(SUFFIXES)}")


def load_splats(path: str | Path, *, spz_frame: SpzFrame = "rub") -> Splats:
    """Splats of a file, float32 on the CPU.

    An infinite logit is read as an opacity of 1 or 0, a log-scale of minus infinity as a size of 0, in finite numbers;
    other rows with NaN or infinity are dropped and their number is logged.

    `spz_frame` says which axes an SPZ file has: "rub" as the format defines (right, up, back), "raw" ours.

    Raises:
        InputError: unknown suffix, missing, truncated or broken file.
    """
    path = Path(path)
    suffix = splat_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if suffix == ".spz":
        return load_spz(path, spz_frame)
    if suffix == ".splat":
        return load_splat(path)
    return load_compressed_ply(path) if read_header(path).compressed else load_ply(path)


def read_offset(path: str | Path) -> tuple[float, float, float] | None:
    """What was subtracted from the positions, as the header of a PLY says (`comment SplatOffset: x y z`).

    Add it, in double precision, for the positions of the source. None where the file does not say.

    Raises:
        InputError: a broken PLY, or such a comment without three numbers.
    """
    path = Path(path)
    if not path.name.lower().endswith(".ply") or not path.is_file():
        return None
    with reading(path):
        return read_header(path).offset


def save_splats(
    path: str | Path,
    splats: Splats,
    *,
    source_from_world: Float[Tensor, "4 4"] | None = None,
    render_mode: Literal["default", "mip", "2dgs"] = "default",
    spz_frame: SpzFrame = "rub",
    spz_version: Literal[3, 4] = 4,
    offset: Sequence[float] | None = None,
) -> None:
    """Writes a splat file atomically, in the frame that `source_from_world` (a similarity) maps to.

    `offset` is what that frame leaves out of the source's coordinates; the header of a PLY, compressed or not, tells
    it, other formats have no place for it. It changes no position.

    PLY keeps every float32 bit; the other formats quantise. Extras are not written. `spz_frame="raw"` writes SPZ in our
    axes instead of the format's.

    Raises:
        InputError: unknown suffix, a degree above 3, or what the format cannot hold.
        ValueError: `source_from_world` is sheared or mirrored.
        OSError: the disk is full or the folder cannot be written.
    """
    suffix = splat_suffix(path)
    if source_from_world is not None:
        splats = transform_splats(source_from_world, splats)
    if suffix != ".ply" and render_mode != "default":
        log.warning(
            "%s: this format cannot say that the splats are '%s'; viewers will draw them as default", path, render_mode
        )
    if suffix == ".ply":
        save_ply(path, splats, render_mode, offset)
    elif suffix == ".compressed.ply":
        save_compressed_ply(path, splats, offset)
    elif suffix == ".spz":
        save_spz(path, splats, spz_frame, spz_version)
    else:
        save_splat(path, splats)
