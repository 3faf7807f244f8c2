"""SPZ (Niantic) through gsply, with checks before it unpacks anything."""

from __future__ import annotations

import gzip
import logging
import math
import struct
from pathlib import Path
from typing import Literal

from gs_reg.errors import InputError, MissingPart
from gs_reg.io.atomic import atomic_path
from gs_reg.io.frames import flip_axes
from gs_reg.io.ply import ROUNDED
from gs_reg.io.quantised import RESCALE, check_and_clean, from_gsply, to_gsply, warn_of_clamped
from gs_reg.io.tags import Tags
from gs_reg.types import Splats

log = logging.getLogger(__name__)

AXES = (1, -1, -1)
"""SPZ axes are right, up, back; ours are right, down, forward. gsply does not convert, so we flip the axes here."""
MAGIC = 0x5053474E
HEAD = 16
"""Bytes of the header."""
FLAGS, ANTIALIASED = 14, 1
"""Place of the flags in the header, and the bit for splats of mip-splatting."""
LOG_SIZES = (-10.0, 5.9375)
"""Of 8 bits in steps of 1/16."""
FEW_SPLATS = 1 << 17
"""More splats than these need a byte of the file each (real files have 9 or more): a header with more is broken."""
SpzFrame = Literal["rub", "raw"]


def _check_head(head: bytes, size: int, path: Path) -> tuple[int, int, int]:
    """Version, count and degree of the first 16 bytes; raises InputError where they cannot be, in a file of `size`."""
    if len(head) < HEAD:
        raise InputError(f"{path}: truncated: expected a header of {HEAD} bytes, got {len(head)}")
    magic, version, count, degree, _bits, _flags, _ = struct.unpack("<IIIBBBB", head)
    if magic != MAGIC:
        raise InputError(f"{path}: expected an SPZ file (its first word is 'NGSP'), got something else")
    if version not in (2, 3, 4):
        raise InputError(f"{path}: expected SPZ of version 2 to 4, got {version}")
    if degree > 3:
        raise InputError(f"{path}: expected spherical harmonics of degree 0 to 3, got {degree}")
    if count > max(FEW_SPLATS, size):
        raise InputError(f"{path}: truncated or broken: {size} bytes cannot hold the {count} splats that it promises")
    return version, count, degree


def _check_gzip(path: Path) -> None:
    """Checks that the content unpacks to what its header says, plus at most 1 MiB of extensions.

    Unpacks in pieces of 1 MiB that are thrown away, so a small file cannot fill the memory.

    Raises:
        InputError: another size.
    """
    with gzip.open(path) as file:
        head = file.read(HEAD)
        version, count, degree = _check_head(head, path.stat().st_size, path)
        expected = HEAD + count * (16 + (4 if version >= 3 else 3) + 3 * ((degree + 1) ** 2 - 1))
        size = len(head)
        while size <= expected + (1 << 20) and (piece := file.read(1 << 20)):
            size += len(piece)
    if not expected <= size <= expected + (1 << 20):
        raise InputError(f"{path}: truncated or broken: expected {expected} bytes of splats, got {size}")


def _check_streams(raw: bytes, path: Path) -> None:
    """Checks the table of streams of version 4: what each unpacks to, by the file's table and by zstd's own header.

    zstd's header is not trusted, as its reader takes as much memory as that says. Raises InputError or struct.error.
    """
    try:
        import zstandard
    except ImportError:  # load_spz says that it is missing
        return
    _version, count, degree = _check_head(raw[:HEAD], len(raw), path)
    streams, table = raw[15], struct.unpack_from("<I", raw, 16)[0]
    sizes = [count * width for width in (9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)) if count * width > 0]
    if streams != len(sizes):
        raise InputError(f"{path}: broken: expected {len(sizes)} streams, got {streams}")
    offset = table + 16 * streams
    for i, expected in enumerate(sizes):
        packed, unpacked = struct.unpack_from("<QQ", raw, table + 16 * i)
        stream = raw[offset : offset + packed]
        # -1: the size is not in zstd's header, and gsply's limit holds
        if len(stream) != packed or unpacked != expected or zstandard.frame_content_size(stream) not in (-1, expected):
            raise InputError(f"{path}: truncated or broken: stream {i} does not hold the {expected} bytes it should")
        offset += packed


def _check(path: Path) -> None:
    """Checks header and sizes before gsply unpacks the file; raises InputError."""
    raw = path.read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":
            _check_gzip(path)
        else:
            _check_head(raw[:HEAD], len(raw), path)
            _check_streams(raw, path)
    except InputError:
        raise
    except Exception as error:  # gzip, zlib, zstandard and struct each raise their own for broken files
        raise InputError(f"{path}: truncated, or no SPZ file: {error}") from error


def load_spz(path: str | Path, frame: SpzFrame = "rub") -> Splats:
    """Splats of an SPZ file (versions 2 to 4) in our axes; frame "raw" leaves the numbers as they are.

    Raises:
        InputError: broken, truncated, or with an impossible count.
        MissingPart: version 4 without the package zstandard.
    """
    from gsply import read_spz

    path = Path(path)
    _check(path)
    try:
        data = read_spz(path)
    except Exception as error:  # gsply raises errors of many types for broken files
        if "requires the 'zstandard' package" in str(error):
            raise MissingPart(f"{path}: SPZ version 4 needs zstandard: pip install zstandard") from error
        raise InputError(f"{path}: not an SPZ file that can be read: {error}") from error
    splats = from_gsply(data, path)
    return flip_axes(AXES, splats) if frame == "rub" else splats


def read_spz_tags(path: Path) -> Tags:
    """Whether the splats are antialiased, by a bit of the header; raises InputError."""
    _check(path)
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        return Tags(render_mode="mip" if file.read(16)[FLAGS] & ANTIALIASED else "default")


def _mark_antialiased(path: Path, version: int) -> None:
    """Sets the bit in a file that gsply wrote, which has no argument for it."""
    raw = bytearray(path.read_bytes() if version == 4 else gzip.decompress(path.read_bytes()))
    raw[FLAGS] |= ANTIALIASED
    path.write_bytes(raw if version == 4 else gzip.compress(raw, mtime=0))


def save_spz(
    path: str | Path,
    splats: Splats,
    frame: SpzFrame = "rub",
    version: Literal[3, 4] = 4,
    *,
    antialiased: bool = False,
) -> None:
    """Writes SPZ, about 20 bytes a splat before gzip or zstd. Positions are 24-bit fixed point, with at most 16
    fractional bits: fewer where the scene is large, with a warning where that shows. Sizes beyond e^-10 to e^5.9 are
    clamped with a warning.

    Raises:
        InputError: no splats, or positions beyond 4 million.
        MissingPart: version 4 without the package zstandard.
    """
    from gsply import write_spz

    path = Path(path)
    splats = check_and_clean(path, splats)
    largest = float(splats.means.abs().max())
    if largest > 2**22:
        raise InputError(f"{path}: SPZ holds positions up to {2**22}, got {largest:.3g}: {RESCALE}")
    warn_of_clamped(path, splats, LOG_SIZES)
    fractional_bits = min(16, math.floor(math.log2((2**23 - 1) / max(largest, 1e-9))))
    if len(splats) > 1:
        _warn_of_rounding(path, splats, 2.0**-fractional_bits)
    data = to_gsply(flip_axes(AXES, splats) if frame == "rub" else splats)
    with atomic_path(path) as temporary:
        try:
            write_spz(temporary, data, version=version, fractional_bits=fractional_bits)
        except ValueError as error:
            if "requires the 'zstandard' package" in str(error):
                raise MissingPart(
                    "SPZ version 4 needs zstandard: pip install zstandard, or write version 3 (--spz-version 3)"
                ) from error
            raise
        if antialiased:
            _mark_antialiased(temporary, version)


def _warn_of_rounding(path: Path, splats: Splats, step: float) -> None:
    """Warns where positions in such steps are moved by a share of the scene's size that shows."""
    size = float((splats.means - splats.means.median(0).values).abs().median())
    if step / 2 > size * ROUNDED:
        log.warning(
            "%s: SPZ has steps of %.2g units in a scene of these coordinates: positions move by up to %.2g along each "
            "axis; export a .ply, or %s",
            *(path, step, step / 2, RESCALE),
        )
