"""Quantised formats, through gsply: compressed PLY (PlayCanvas) and SPZ (Niantic)."""

from __future__ import annotations

import gzip
import logging
import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gs_reg.errors import InputError, MissingPart
from gs_reg.io.atomic import atomic_path
from gs_reg.io.frames import flip_axes
from gs_reg.io.ply import ROUNDED, finite_rows, offset_comment, read_element, read_header
from gs_reg.neighbors import morton_order
from gs_reg.types import Splats

log = logging.getLogger(__name__)

CHUNK = 256
"""Splats that share one set of bounds in a compressed PLY."""
BOUNDS = [f"{end}_{of}{axis}" for of in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
COLOUR_BOUNDS = [f"{end}_{colour}" for end in ("min", "max") for colour in "rgb"]
PACKED = [f"packed_{name}" for name in ("position", "rotation", "scale", "color")]
SPZ_AXES = (1, -1, -1)
"""SPZ axes are right, up, back; ours are right, down, forward. gsply does not convert, so we flip the axes here."""
SPZ_MAGIC = 0x5053474E
RESCALE = "write it in other coordinates (of a run: gs-reg export --frame normalised)"
SPZ_LOG_SIZES = (-10.0, 5.9375)
"""Of 8 bits in steps of 1/16."""
COMPRESSED_LOG_SIZES = (-20.0, 20.0)
CLAMPED = 0.01
"""Share of clamped splats from which there is a warning."""
FEW_SPZ_SPLATS = 1 << 17
"""More splats than these need a byte of the file each (real files have 9 or more): a header with more is broken."""
SpzFrame = Literal["rub", "raw"]


def _to_gsply(splats: Splats):
    from gsply import GSData

    high = splats.sh[:, 1:].contiguous().numpy() if splats.sh.shape[1] > 1 else None
    # a zero quaternion cannot be normalised: it becomes the identity
    zero = splats.quats.norm(dim=1, keepdim=True) < 1e-20
    quats = torch.nn.functional.normalize(
        torch.where(zero, splats.quats.new_tensor([1.0, 0, 0, 0]), splats.quats), dim=1
    )
    means, scales, opacities = splats.means, splats.log_scales, splats.opacity_logits
    dc = splats.sh[:, 0].contiguous()
    means, scales, quats, opacities = (x.contiguous().numpy() for x in (means, scales, quats, opacities))
    return GSData.from_arrays(means, scales, quats, opacities, dc.numpy(), high, format="ply")


def _from_gsply(data, path: Path) -> Splats:
    def tensor(array) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=np.float32))

    sh = tensor(data.sh0)[:, None]
    if data.shN is not None and data.shN.shape[1] > 0:
        sh = torch.cat([sh, tensor(data.shN)], dim=1)
    parts = [tensor(x) for x in (data.means, data.quats, data.scales, data.opacities)]
    return finite_rows(Splats(parts[0], parts[1], parts[2], parts[3].reshape(-1), sh), path)


def _check_and_clean(path: Path, splats: Splats) -> Splats:
    """The finite splats in float32 on the CPU; raises InputError where the formats cannot hold them."""
    if splats.sh.shape[1] not in (1, 4, 9, 16):
        raise InputError(f"{path}: holds spherical harmonics of degree 0 to 3, got {splats.sh.shape[1]} coefficients")
    splats = finite_rows(splats.detach().to("cpu", torch.float32), path)
    if len(splats) == 0:
        raise InputError(f"{path}: this format needs at least one splat; write .ply for an empty scene")
    return splats


def _warn_of_clamped(path: str | Path, splats: Splats, bounds: tuple[float, float]) -> None:
    """Warns where the format clamps the longest axes of many splats: the scene has other units than it is made for."""
    longest = splats.log_scales.amax(1)
    share = float(((longest < bounds[0]) | (longest > bounds[1])).float().mean())
    if share > CLAMPED:
        low, high = (math.exp(bound) for bound in bounds)
        log.warning(
            "%s: this format holds sizes from %.2g to %.2g units; %.0f %% of the splats are beyond and are changed: %s",
            *(path, low, high, 100 * share, RESCALE),
        )


def _warn_of_rounding(path: Path, splats: Splats, step: float) -> None:
    """Warns where positions in such steps are moved by a share of the scene's size that shows."""
    size = float((splats.means - splats.means.median(0).values).abs().median())
    if step / 2 > size * ROUNDED:
        log.warning(
            "%s: SPZ has steps of %.2g units in a scene of these coordinates: positions move by up to %.2g along each "
            "axis; export a .ply, or %s",
            *(path, step, step / 2, RESCALE),
        )


def _table(rows: np.ndarray, names: list[str], kind: str, path: Path) -> np.ndarray:
    """The named columns of a PLY element side by side, in the type `kind`.

    Raises:
        InputError: a column is missing or has another type.
    """
    for name in names:
        if name not in (rows.dtype.names or ()) or rows.dtype[name].newbyteorder("<") != np.dtype(kind):
            raise InputError(f"{path}: expected a column '{name}' of type {np.dtype(kind).name} in a compressed PLY")
    if not names:
        return np.empty((len(rows), 0), kind)
    return np.stack([rows[name].astype(kind) for name in names], axis=-1)


def _packed_header(chunks: int, splats: int, rest: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in BOUNDS + COLOUR_BOUNDS]
    lines += [f"element vertex {splats}", *(f"property uint {name}" for name in PACKED)]
    if rest:
        lines += [f"element sh {splats}", *(f"property uchar f_rest_{i}" for i in range(rest))]
    return "\n".join([*lines, "end_header", ""]).encode()


def load_compressed_ply(path: str | Path) -> Splats:
    """Splats of a compressed PLY; of the older layout too, with 12 bounds a chunk and colours as they are.

    Raises:
        InputError: broken or truncated, or of another layout.
    """
    from gsply import decompress_from_bytes

    path = Path(path)
    header = read_header(path)
    chunks, vertices = (read_element(path, header, name) for name in ("chunk", "vertex"))
    if len(chunks) != -(-len(vertices) // CHUNK):
        raise InputError(
            f"{path}: expected one chunk for {CHUNK} of its {len(vertices)} splats, got {len(chunks)} chunks"
        )
    bounds, packed = _table(chunks, BOUNDS, "<f4", path), _table(vertices, PACKED, "<u4", path)
    if any(name in COLOUR_BOUNDS for name in chunks.dtype.names or ()):
        colours = _table(chunks, COLOUR_BOUNDS, "<f4", path)
    else:  # the older layout: colours from 0 to 1
        colours = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], "<f4"), len(chunks), axis=0)
    sh = np.empty((len(vertices), 0), "u1")
    if any(element.name == "sh" for element in header.elements):
        rows = read_element(path, header, "sh")
        if len(rows) != len(vertices) or rows.dtype.itemsize not in (9, 24, 45):
            raise InputError(f"{path}: the spherical harmonics do not fit {len(vertices)} splats of degree 0 to 3")
        sh = _table(rows, [f"f_rest_{i}" for i in range(rows.dtype.itemsize)], "u1", path)
    # gsply reads its own layout only: the same columns in its order
    parts = [_packed_header(len(chunks), len(vertices), sh.shape[1]), np.hstack([bounds, colours]), packed, sh]
    with np.errstate(invalid="ignore", over="ignore"):  # bounds that are not finite, or too far apart for float32
        data = decompress_from_bytes(b"".join(bytes(part) for part in parts))
    return _from_gsply(data, path)


def lasting_degree(splats: Splats) -> int:
    """The SH degree at which the rounding of a compressed PLY harms colours least.

    The format holds coefficients in steps of 1/32 and has no zero, so weaker ones become noise of up to 1/64. Leaving
    degrees out costs their energy; keeping them costs the squared error of the rounding. Both are weighed by opacity.
    """
    weight, gains = splats.opacities.double()[:, None], [0.0]
    for degree in range(1, splats.sh_degree + 1):
        gain = 0.0
        for k in range(degree**2, (degree + 1) ** 2):
            sh = splats.sh[:, k].double()
            error = ((sh * 32 + 128).floor().clamp(0, 255) - 127.5) / 32 - sh
            gain += float((weight * (sh.square() - error.square())).sum())
        gains.append(gains[-1] + gain)
    return max(range(len(gains)), key=gains.__getitem__)


def save_compressed_ply(path: str | Path, splats: Splats, offset: Sequence[float] | None = None) -> None:
    """Writes 16 bytes a splat (more with SH). Rows are reordered along a Morton curve: it keeps the bounds of the
    chunks, and so the quantisation error, small. Degrees of SH too weak for the format are left out with a warning.
    `offset` is noted in the header: what was subtracted from the positions."""
    from gsply import compress_to_bytes

    splats = _check_and_clean(Path(path), splats)
    _warn_of_clamped(path, splats, COMPRESSED_LOG_SIZES)
    degree, kept = splats.sh_degree, lasting_degree(splats)
    if kept < degree:
        log.warning(
            "%s: view-dependent colour of degree %s is weaker than the steps of this format and would become noise; "
            "it is left out",
            path,
            degree if kept + 1 == degree else f"{kept + 1} to {degree}",
        )
        splats = replace(splats, sh=splats.sh[:, : (kept + 1) ** 2])
    splats = splats.rows(morton_order(splats.means))
    data = compress_to_bytes(_to_gsply(splats))
    if offset is not None:
        data = data.replace(b"\nelement ", b"\n" + offset_comment(offset).encode() + b"\nelement ", 1)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _check_spz_head(head: bytes, size: int, path: Path) -> tuple[int, int, int]:
    """Version, count and degree of the first 16 bytes; raises InputError where they cannot be, in a file of `size`."""
    magic, version, count, degree, _bits, _flags, _ = struct.unpack("<IIIBBBB", head)
    if magic != SPZ_MAGIC:
        raise InputError(f"{path}: expected an SPZ file (its first word is 'NGSP'), got something else")
    if version not in (2, 3, 4):
        raise InputError(f"{path}: expected SPZ of version 2 to 4, got {version}")
    if degree > 3:
        raise InputError(f"{path}: expected spherical harmonics of degree 0 to 3, got {degree}")
    if count > max(FEW_SPZ_SPLATS, size):
        raise InputError(f"{path}: truncated or broken: {size} bytes cannot hold the {count} splats that it promises")
    return version, count, degree


def _check_gzip(path: Path) -> None:
    """Checks that the content unpacks to what its header says, plus at most 1 MiB of extensions.

    Unpacks in pieces of 1 MiB that are thrown away, so a small file cannot fill the memory.

    Raises:
        InputError: another size.
    """
    with gzip.open(path) as file:
        head = file.read(16)
        version, count, degree = _check_spz_head(head, path.stat().st_size, path)
        expected = 16 + count * (16 + (4 if version >= 3 else 3) + 3 * ((degree + 1) ** 2 - 1))
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
    _version, count, degree = _check_spz_head(raw[:16], len(raw), path)
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


def _check_spz(path: Path) -> None:
    """Checks header and sizes before gsply unpacks the file; raises InputError."""
    raw = path.read_bytes()
    try:
        if raw[:2] == b"\x1f\x8b":
            _check_gzip(path)
        else:
            _check_spz_head(raw[:16], len(raw), path)
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
    _check_spz(path)
    try:
        data = read_spz(path)
    except Exception as error:  # gsply raises errors of many types for broken files
        if "requires the 'zstandard' package" in str(error):
            raise MissingPart(f"{path}: SPZ version 4 needs zstandard: pip install zstandard") from error
        raise InputError(f"{path}: not an SPZ file that can be read: {error}") from error
    splats = _from_gsply(data, path)
    return flip_axes(SPZ_AXES, splats) if frame == "rub" else splats


def save_spz(path: str | Path, splats: Splats, frame: SpzFrame = "rub", version: Literal[3, 4] = 4) -> None:
    """Writes SPZ, about 20 bytes a splat before gzip or zstd. Positions are 24-bit fixed point, with at most 16
    fractional bits: fewer where the scene is large, with a warning where that shows. Sizes beyond e^-10 to e^5.9 are
    clamped with a warning.

    Raises:
        InputError: no splats, or positions beyond 4 million.
        MissingPart: version 4 without the package zstandard.
    """
    from gsply import write_spz

    path = Path(path)
    splats = _check_and_clean(path, splats)
    largest = float(splats.means.abs().max())
    if largest > 2**22:
        raise InputError(f"{path}: SPZ holds positions up to {2**22}, got {largest:.3g}: {RESCALE}")
    _warn_of_clamped(path, splats, SPZ_LOG_SIZES)
    fractional_bits = min(16, math.floor(math.log2((2**23 - 1) / max(largest, 1e-9))))
    if len(splats) > 1:
        _warn_of_rounding(path, splats, 2.0**-fractional_bits)
    data = _to_gsply(flip_axes(SPZ_AXES, splats) if frame == "rub" else splats)
    with atomic_path(path) as temporary:
        try:
            write_spz(temporary, data, version=version, fractional_bits=fractional_bits)
        except ValueError as error:
            if "requires the 'zstandard' package" in str(error):
                raise MissingPart(
                    "SPZ version 4 needs zstandard: pip install zstandard, or write version 3 (--spz-version 3)"
                ) from error
            raise
