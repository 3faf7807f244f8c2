"""`avatar.gsbasis`: 8 bytes of magic, the length of a JSON header, the header, then raw little-endian blocks."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gs_reg.bake.attributes import ATTRIBUTES
from gs_reg.bake.basis import Basis
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.regression import Folds, Regressor
from gs_reg.types import Splats

MAGIC = b"gsbasis1"
ALIGNED = 16
"""Bytes: every block begins at a multiple of it, counted from the first block."""
MOST_HEADER = 1 << 24
CLOUD = ("means", "quats", "log_scales", "opacity_logits", "sh")


def save_basis(path: str | Path, basis: Basis, notes: dict[str, Any] | None = None) -> None:
    """Writes the file atomically; `notes` (errors in dB, names, licences) go into the header as they are."""
    cloud = basis.reference.detach().to("cpu", torch.float32)
    arrays = {f"cloud.{name}": getattr(cloud, name).numpy() for name in CLOUD}
    arrays |= {"columns": basis.columns, "scales": basis.scales}
    arrays |= {f"code.{name}": getattr(basis, name).float().numpy() for name in ("neutral", "lo", "hi")}
    arrays |= {f"regressor.{name}": t.float().numpy() for name, t in basis.regressor.tensors().items()}
    blocks, offset = {}, 0
    for name, array in arrays.items():
        blocks[name] = {"type": array.dtype.newbyteorder("<").str, "shape": list(array.shape), "offset": offset}
        offset += -(-array.nbytes // ALIGNED) * ALIGNED
    header = {
        "channels": list(basis.channels),
        "unit_m": basis.unit_m,
        "attributes": "offset 3, log-scale 3, rotation vector 3, opacity logit, dc 3",
        "errors": {name: [fold.rms, fold.r2] for name, fold in basis.errors.items()},
        "notes": notes or {},
        "blocks": blocks,
    }
    text = json.dumps(header).encode()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            file.write(data + bytes(-len(data) % ALIGNED))


def load_basis(path: str | Path) -> Basis:
    """
    Raises:
        InputError: no such file, truncated, or blocks that do not fit each other.
    """
    path = Path(path)
    with reading(path):
        data = path.read_bytes()
        if data[:8] != MAGIC:
            raise InputError(f"{path}: expected a baked avatar (.gsbasis), got something else")
        (length,) = struct.unpack_from("<Q", data, 8)
        if length > min(MOST_HEADER, len(data) - 16):
            raise InputError(f"{path}: truncated: its header has {length} bytes, the file {len(data)}")
        header = json.loads(data[16 : 16 + length])
        blocks = {name: _block(data, 16 + length, name, of, path) for name, of in header["blocks"].items()}
        basis = _of_blocks(header, blocks)
    _check(basis, path)
    return basis


def basis_notes(path: str | Path) -> dict[str, Any]:
    """The notes of the header; of a file that load_basis reads."""
    with reading(path), Path(path).open("rb") as file:
        (length,) = struct.unpack("<8xQ", file.read(16))
        return json.loads(file.read(min(length, MOST_HEADER)))["notes"]


def _block(data: bytes, start: int, name: str, of: dict[str, Any], path: Path) -> np.ndarray:
    kind, shape, offset = np.dtype(of["type"]), [int(side) for side in of["shape"]], int(of["offset"])
    if kind.str not in ("<f4", "<f2", "|i1") or min([offset, *shape], default=0) < 0:
        raise InputError(f"{path}: block {name}: expected float32, float16 or int8, got {kind} {shape}")
    count = math.prod(shape)
    if start + offset + count * kind.itemsize > len(data):
        raise InputError(f"{path}: truncated: block {name} reaches beyond the end of the file")
    values = np.frombuffer(data, kind, count, start + offset).reshape(shape).copy()
    if kind.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{path}: block {name} has NaN or infinity")
    return values


def _of_blocks(header: dict[str, Any], blocks: dict[str, np.ndarray]) -> Basis:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(blocks[name])

    prefix = "regressor."
    regressor = {name.removeprefix(prefix): tensor(name) for name in blocks if name.startswith(prefix)}
    return Basis(
        Splats(*(tensor(f"cloud.{name}") for name in CLOUD), extra={}),
        blocks["columns"],
        blocks["scales"],
        Regressor.of_tensors(regressor),
        tuple(str(name) for name in header["channels"]),
        *(tensor(f"code.{name}") for name in ("neutral", "lo", "hi")),
        unit_m=float(header["unit_m"]),
        errors={name: Folds(*map(float, values)) for name, values in header["errors"].items()},
    )


def _check(basis: Basis, path: Path) -> None:
    n, k, dim = len(basis.reference), basis.rank, len(basis.channels)
    shapes = {
        "columns": (basis.columns.shape, (k, ATTRIBUTES, n)),
        "scales": (basis.scales.shape, (k, ATTRIBUTES)),
        "code.neutral": (basis.neutral.shape, (dim,)),
        "regressor.mean": (basis.regressor.mean.shape, (dim,)),
        "the regressor's last bias": (basis.regressor.layers[-1][1].shape, (k,)),
        "cloud.quats": (basis.reference.quats.shape, (n, 4)),
    }
    for name, (got, expected) in shapes.items():
        if tuple(got) != expected:
            raise InputError(f"{path}: {name}: expected {list(expected)} for its other blocks, got {list(got)}")
