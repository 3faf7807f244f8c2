"""Quantised formats, through gsply: compressed PLY (PlayCanvas) and SPZ (Niantic)."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.errors import InputError, MissingPart
from gs_reg.io.atomic import atomic_path
from gs_reg.io.frames import flip_axes
from gs_reg.io.ply import finite_rows, read_header
from gs_reg.types import Splats

log = logging.getLogger(__name__)

CHUNK = 256
"""Splats that share one set of bounds in a compressed PLY."""
SPZ_AXES = (1, -1, -1)
"""SPZ axes are right, up, back; ours are right, down, forward. gsply does not convert, so we flip the axes here."""
SPZ_MAGIC = 0x5053474E
MAX_SPZ_SPLATS = 50_000_000
"""A header with a larger count is taken for broken, before anything is unpacked."""
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


def morton_order(means: Float[Tensor, "N 3"]) -> Int[Tensor, "N"]:
    """Order of rows along a Morton (Z-order) curve of 2^10 cells a side; ties keep their order."""
    low, high = means.amin(0), means.amax(0)
    cells = ((means - low) / (high - low).clamp_min(1e-30) * 1023).long()
    code = torch.zeros(len(means), dtype=torch.long)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code.argsort(stable=True)


def load_compressed_ply(path: str | Path) -> Splats:
    """Splats of a compressed PLY.

    Raises:
        InputError: broken or truncated, or of a layout other than 18 bounds a chunk of 256.
    """
    from gsply import decompress_from_bytes

    path = Path(path)
    parts = {element.name: element for element in read_header(path).elements}
    chunk, vertex, sh = parts.get("chunk"), parts.get("vertex"), parts.get("sh")
    if chunk is None or vertex is None or (chunk.dtype.itemsize, vertex.dtype.itemsize) != (72, 16):
        raise InputError(f"{path}: expected a compressed PLY with 18 bounds a chunk and 16 bytes a splat")
    if chunk.count != -(-vertex.count // CHUNK):
        raise InputError(
            f"{path}: expected one chunk for {CHUNK} of its {vertex.count} splats, got {chunk.count} chunks"
        )
    if sh is not None and (sh.count != vertex.count or sh.dtype.itemsize not in (9, 24, 45)):
        raise InputError(f"{path}: the spherical harmonics do not fit {vertex.count} splats of degree 0 to 3")
    try:
        data = decompress_from_bytes(path.read_bytes())
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a compressed PLY that can be read: {error}") from error
    return _from_gsply(data, path)


def save_compressed_ply(path: str | Path, splats: Splats) -> None:
    """Writes 16 bytes a splat (more with SH). Rows are reordered along a Morton curve: it keeps the bounds of the
    chunks, and so the quantisation error, small."""
    from gsply import compress_to_bytes

    splats = _check_and_clean(Path(path), splats)
    splats = splats.rows(morton_order(splats.means))
    data = compress_to_bytes(_to_gsply(splats))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _check_gzip(raw: bytes, expected: int, path: Path) -> None:
    """Checks that the content unpacks to the expected size, plus at most 1 MiB of extensions.

    Unpacks in pieces of 1 MiB that are thrown away, so a small file cannot fill the memory.

    Raises:
        InputError: another size.
    """
    unpacker, size, pending = zlib.decompressobj(31), 0, raw
    while pending and size <= expected + (1 << 20):
        size += len(unpacker.decompress(pending, 1 << 20))
        pending = unpacker.unconsumed_tail
    if not expected <= size <= expected + (1 << 20):
        raise InputError(f"{path}: truncated or broken: expected {expected} bytes of splats, got {size}")


def _check_spz(path: Path) -> None:
    """Checks magic number, count, degree and size before gsply unpacks the file; raises InputError."""
    raw = path.read_bytes()
    zipped = raw[:2] == b"\x1f\x8b"
    try:
        head = zlib.decompressobj(31).decompress(raw, 16) if zipped else raw[:16]
        magic, version, count, degree, _bits, _flags, _ = struct.unpack("<IIIBBBB", head)
        if magic != SPZ_MAGIC:
            raise InputError(f"{path}: expected an SPZ file (its first word is 'NGSP'), got something else")
        if count > MAX_SPZ_SPLATS or degree > 3:
            raise InputError(
                f"{path}: expected at most {MAX_SPZ_SPLATS} splats of degree 0 to 3, got {count} of degree {degree}"
            )
        if zipped:
            rotation = 4 if version >= 3 else 3
            _check_gzip(raw, 16 + count * (16 + rotation + 3 * ((degree + 1) ** 2 - 1)), path)
    except (zlib.error, struct.error) as error:
        raise InputError(f"{path}: truncated, or no SPZ file: {error}") from error


def load_spz(path: str | Path, frame: SpzFrame = "rub") -> Splats:
    """Splats of an SPZ file (versions 1 to 4) in our axes; frame "raw" leaves the numbers as they are.

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
    fractional bits: fewer where the scene is large.

    Raises:
        InputError: no splats, or positions beyond 4 million.
        MissingPart: version 4 without the package zstandard.
    """
    from gsply import write_spz

    path = Path(path)
    splats = _check_and_clean(path, splats)
    largest = float(splats.means.abs().max())
    if largest > 2**22:
        raise InputError(f"{path}: SPZ holds positions up to {2**22}, got {largest:.3g}; scale the scene down")
    fractional_bits = min(16, math.floor(math.log2((2**23 - 1) / max(largest, 1e-9))))
    data = _to_gsply(flip_axes(SPZ_AXES, splats) if frame == "rub" else splats)
    with atomic_path(path) as temporary:
        try:
            write_spz(temporary, data, version=version, fractional_bits=fractional_bits)
        except ValueError as error:
            if "requires the 'zstandard' package" in str(error):
                raise MissingPart("SPZ version 4 needs zstandard: pip install zstandard, or write version 3") from error
            raise
