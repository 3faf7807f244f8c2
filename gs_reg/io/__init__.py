"""Splat files, chosen by suffix: PLY, compressed PLY, SPZ, .splat, SOG, glTF, USD."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.io.compressed_ply import load_compressed_ply, save_compressed_ply
from gs_reg.io.formats import FORMATS, SUFFIXES, WRITABLE, Format, format_of
from gs_reg.io.frames import transform_splats
from gs_reg.io.gltf import load_glb, read_glb_tags, save_glb
from gs_reg.io.ply import load_ply, read_header, save_ply
from gs_reg.io.sog import load_sog, read_sog_tags, save_sog
from gs_reg.io.splat import load_splat, save_splat
from gs_reg.io.spz import SpzFrame, load_spz, read_spz_tags, save_spz
from gs_reg.io.tags import RenderMode, Tags
from gs_reg.io.usd import save_usd
from gs_reg.types import Splats

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "WRITABLE",
    "Format",
    "Tags",
    "format_of",
    "load_splats",
    "read_offset",
    "read_tags",
    "save_splats",
    "splat_suffix",
]

log = logging.getLogger(__name__)


def splat_suffix(path: str | Path) -> str:
    """The one of SUFFIXES that the file name ends with; raises InputError for any other."""
    return format_of(path).suffix


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
    others = {".splat": load_splat, ".sog": load_sog, ".glb": load_glb}
    if suffix in others:
        return others[suffix](path)
    return load_compressed_ply(path) if read_header(path).compressed else load_ply(path)


def read_tags(path: str | Path) -> Tags:
    """What a splat file says beside its splats, as far as its format can; a missing file says nothing.

    Raises:
        InputError: a broken file, or an offset without three numbers.
    """
    path = Path(path)
    if not path.is_file():
        return Tags()
    suffix = splat_suffix(path)
    readers = {".spz": read_spz_tags, ".sog": read_sog_tags, ".glb": read_glb_tags}
    if suffix in readers:
        return readers[suffix](path)
    if suffix == ".splat":
        return Tags()
    with reading(path):
        header = read_header(path)
        return Tags(header.offset, header.render_mode)


def read_offset(path: str | Path) -> tuple[float, float, float] | None:
    """What was subtracted from the positions, as the file says: a PLY in its header (`comment SplatOffset: x y z`).

    Add it, in double precision, for the positions of the source. None where the file does not say.

    Raises:
        InputError: a broken file, or an offset without three numbers.
    """
    return read_tags(path).offset


def save_splats(
    path: str | Path,
    splats: Splats,
    *,
    source_from_world: Float[Tensor, "4 4"] | None = None,
    render_mode: RenderMode = "default",
    spz_frame: SpzFrame = "rub",
    spz_version: Literal[3, 4] = 4,
    offset: Sequence[float] | None = None,
) -> None:
    """Writes a splat file atomically, in the frame that `source_from_world` (a similarity) maps to.

    `offset` is what that frame leaves out of the source's coordinates; PLY, SOG, glTF and USD tell it, other formats
    have no place for it. It changes no position.

    PLY keeps every float32 bit, glTF and USD nearly; the other formats quantise, as FORMATS says. Extras are not
    written. `spz_frame="raw"` writes SPZ in our axes instead of the format's.

    Raises:
        InputError: unknown suffix, a degree above 3, or what the format cannot hold.
        MissingPart: USD without usd-core.
        ValueError: `source_from_world` is sheared or mirrored.
        OSError: the disk is full or the folder cannot be written.
    """
    kind = format_of(path, WRITABLE)
    if source_from_world is not None:
        splats = transform_splats(source_from_world, splats)
    for line in kind.lost(splats.sh_degree, render_mode, None):
        log.warning("%s: %s", path, line)
    if not kind.harmonics:
        splats = replace(splats, sh=splats.sh[:, :1])
    if kind.suffix == ".ply":
        save_ply(path, splats, render_mode, offset)
    elif kind.suffix == ".compressed.ply":
        save_compressed_ply(path, splats, offset, render_mode)
    elif kind.suffix == ".spz":
        save_spz(path, splats, spz_frame, spz_version, antialiased=render_mode == "mip")
    elif kind.suffix == ".splat":
        save_splat(path, splats)
    elif kind.suffix == ".sog":
        save_sog(path, splats, render_mode, offset)
    elif kind.suffix == ".glb":
        save_glb(path, splats, offset)
    else:
        save_usd(path, splats, offset)
