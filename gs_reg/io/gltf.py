"""glTF with KHR_gaussian_splatting (`.glb`): float32 columns behind a small JSON."""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.io.frames import flip_axes, transform_splats
from gs_reg.io.ply import FLAT_SCALE, OPAQUE_LOGIT, finite_rows
from gs_reg.io.quantised import check_and_clean, unit_quats
from gs_reg.io.tags import Tags, three_numbers
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Splats

log = logging.getLogger(__name__)

AXES = (-1, -1, 1)
"""glTF is y up with z towards the viewer of its front; ours are right, down, forward."""
EXTENSION = "KHR_gaussian_splatting"
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT, _UBYTE = 5126, 5121
_KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def _columns(splats: Splats) -> dict[str, np.ndarray]:
    """The attributes of the primitive, in the axes of the splats."""
    color = torch.cat([sh_to_rgb(splats.sh[:, 0]), splats.opacities[:, None]], 1)
    columns = {
        "POSITION": splats.means,
        "COLOR_0": (color.clamp(0, 1) * 255).round().byte(),  # for viewers that know points only
        f"{EXTENSION}:ROTATION": unit_quats(splats.quats)[:, [1, 2, 3, 0]],
        f"{EXTENSION}:SCALE": splats.scales,
        f"{EXTENSION}:OPACITY": splats.opacities,
    }
    for degree in range(splats.sh_degree + 1):
        for i in range(2 * degree + 1):
            columns[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{i}"] = splats.sh[:, degree**2 + i]
    return {name: np.ascontiguousarray(column.numpy()) for name, column in columns.items()}


def save_glb(path: str | Path, splats: Splats, offset: Sequence[float] | None = None) -> None:
    """Writes float32 values in the axes of glTF, y up; sizes and opacities are not logarithms there.

    `offset` is noted in the asset's extras: what was subtracted from the positions.

    Raises:
        InputError: no splats, a degree above 3, or over 4 GB of them.
    """
    path = Path(path)
    columns = _columns(flip_axes(AXES, check_and_clean(path, splats)))
    views, accessors, start = [], [], 0
    for name, column in columns.items():
        views.append({"buffer": 0, "byteOffset": start, "byteLength": column.nbytes, "target": 34962})
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[column.shape[1] if column.ndim > 1 else 1]
        accessor: dict[str, Any] = {"bufferView": len(accessors), "count": len(column), "type": kind}
        accessor["componentType"] = _UBYTE if column.dtype == np.uint8 else _FLOAT
        if name == "COLOR_0":
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": column.min(0).tolist(), "max": column.max(0).tolist()}
        accessors.append(accessor)
        start += column.nbytes
    primitive = {"mode": 0, "attributes": {name: i for i, name in enumerate(columns)}}
    primitive["extensions"] = {
        EXTENSION: {
            "kernel": "ellipse",
            "colorSpace": "srgb_rec709_display",
            "sortingMethod": "cameraDistance",
            "projection": "perspective",
        }
    }
    asset: dict[str, Any] = {"version": "2.0", "generator": "gs-reg"}
    asset |= {} if offset is None else {"extras": {"offset": list(map(float, offset))}}
    document = {"asset": asset, "extensionsUsed": [EXTENSION], "scene": 0, "scenes": [{"nodes": [0]}]}
    document |= {"nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}]}
    document |= {"buffers": [{"byteLength": start}], "bufferViews": views, "accessors": accessors}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + start
    if total >= 1 << 32:
        raise InputError(f"{path}: a .glb holds up to 4 GB, got {total / 1e9:.1f}: export .sog, .spz or .ply")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<III", _MAGIC, 2, total) + struct.pack("<II", len(text), _JSON) + text)
        file.write(struct.pack("<II", start, _BIN))
        for column in columns.values():
            file.write(column.data)


def _document(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON of a .glb, and where its binary chunk begins; raises InputError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(20)
        if len(head) < 20 or struct.unpack("<II", head[:8]) != (_MAGIC, 2):
            raise InputError(f"{path}: expected a binary glTF 2.0 file (it starts with 'glTF'), got something else")
        total, length, kind = struct.unpack("<III", head[8:])
        if total > size or kind != _JSON or 20 + length > size:
            raise InputError(f"{path}: truncated or broken: it promises {max(total, 20 + length)} bytes, has {size}")
        document = json.loads(file.read(length))
    if not isinstance(document, dict):
        raise InputError(f"{path}: broken: its JSON is no object")
    return document, 20 + length + 8


def read_glb_tags(path: Path) -> Tags:
    """The offset in the asset's extras; raises InputError."""
    with reading(path):
        extras = _document(path)[0].get("asset", {}).get("extras", {})
        offset = extras.get("offset") if isinstance(extras, dict) else None
        return Tags(None if offset is None else three_numbers(offset))


def _accessor(document: Mapping[str, Any], index: int, body: np.ndarray) -> np.ndarray:
    """The rows of an accessor as floats; raises for what lies outside of the file."""
    entry = document["accessors"][index]
    view = document["bufferViews"][entry["bufferView"]]
    if "sparse" in entry or view["buffer"] != 0 or "uri" in document["buffers"][0]:
        raise ValueError("sparse accessors and buffers in other files are not read")
    kind, width, count = np.dtype(_KINDS[entry["componentType"]]), _WIDTHS[entry["type"]], int(entry["count"])
    row = kind.itemsize * width
    stride = int(view.get("byteStride", row))
    begin = int(view.get("byteOffset", 0)) + int(entry.get("byteOffset", 0))
    end = begin + stride * (count - 1) + row
    if count < 1 or min(begin, stride - row) < 0 or end > len(body):
        raise ValueError(f"accessor {index}: {count} rows do not lie in the {len(body)} bytes of the buffer")
    raw = np.lib.stride_tricks.as_strided(body[begin:], (count, row), (stride, 1), writeable=False)
    values = np.ascontiguousarray(raw).view(kind).astype(np.float32)
    if kind.kind in "iu":
        values = np.maximum(values / np.iinfo(kind).max, -1) if entry.get("normalized") else values
    return values


def _global_matrix(nodes: Sequence[Mapping[str, Any]], index: int) -> torch.Tensor:
    parents = {child: i for i, node in enumerate(nodes) for child in node.get("children", ())}
    matrix = torch.eye(4, dtype=torch.float64)
    for _ in range(len(nodes)):
        matrix = _local_matrix(nodes[index]) @ matrix
        if index not in parents:
            return matrix
        index = parents[index]
    raise ValueError("its nodes are their own ancestors")


def _local_matrix(node: Mapping[str, Any]) -> torch.Tensor:
    if "matrix" in node:
        return torch.tensor(node["matrix"], dtype=torch.float64).reshape(4, 4).T
    matrix = torch.eye(4, dtype=torch.float64)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    matrix[:3, :3] = quat_to_rotmat(torch.tensor([w, x, y, z], dtype=torch.float64))
    matrix[:3, :3] *= torch.tensor(node.get("scale", (1, 1, 1)), dtype=torch.float64)
    matrix[:3, 3] = torch.tensor(node.get("translation", (0, 0, 0)), dtype=torch.float64)
    return matrix


def _splats_of(document: Mapping[str, Any], primitive: Mapping[str, Any], body: np.ndarray) -> Splats:
    attributes = primitive["attributes"]

    def column(name: str, width: int) -> torch.Tensor:
        # older drafts of the extension had no prefix
        values = _accessor(document, attributes.get(f"{EXTENSION}:{name}", attributes.get(name, -1)), body)
        if values.shape[1] != width:
            raise ValueError(f"{name}: expected {width} numbers a splat, got {values.shape[1]}")
        return torch.from_numpy(values)

    names = [f"SH_DEGREE_{d}_COEF_{i}" for d in range(4) for i in range(2 * d + 1)]
    known = [f"{EXTENSION}:{name}" in attributes or name in attributes for name in names]
    degree = max((d for d in range(4) if all(known[: (d + 1) ** 2])), default=-1)
    if degree < 0:
        raise ValueError("no colours: expected SH_DEGREE_0_COEF_0")
    opacity = column("OPACITY", 1)[:, 0]
    return Splats(
        column("POSITION", 3),
        column("ROTATION", 4)[:, [3, 0, 1, 2]],
        column("SCALE", 3).clamp_min(FLAT_SCALE).log(),
        torch.logit(opacity.double().clamp(0, 1)).clamp(-OPAQUE_LOGIT, OPAQUE_LOGIT).float(),
        torch.stack([column(name, 3) for name in names[: (degree + 1) ** 2]], 1),
    )


def load_glb(path: str | Path) -> Splats:
    """Splats of the KHR_gaussian_splatting primitives of a .glb in our axes, as its nodes place them.

    Raises:
        InputError: broken or truncated, without such a primitive, or with a node that shears or mirrors it.
    """
    path = Path(path)
    with reading(path):
        document, start = _document(path)
        body = np.fromfile(path, np.uint8, offset=min(start, path.stat().st_size))
        nodes, parts = document.get("nodes", []), []
        for i, node in enumerate(nodes):
            mesh = document["meshes"][node["mesh"]] if "mesh" in node else {}
            for primitive in mesh.get("primitives", ()):
                extension = primitive.get("extensions", {}).get(EXTENSION)
                if extension is None:
                    continue
                if str(extension.get("colorSpace", "")).startswith("lin"):
                    log.warning("%s: its colours are linear; they are read as they are and look darker", path)
                splats, matrix = _splats_of(document, primitive, body), _global_matrix(nodes, i)
                if not math.isfinite(float(matrix.sum())):
                    raise ValueError(f"node {i}: its place is not finite")
                parts.append(splats if torch.equal(matrix, torch.eye(4).double()) else transform_splats(matrix, splats))
        if not parts:
            raise InputError(f"{path}: a glTF without {EXTENSION} holds no Gaussian splats (a mesh?)")
        if len({part.sh_degree for part in parts}) > 1:
            raise InputError(f"{path}: its parts have spherical harmonics of different degrees")
        return flip_axes(AXES, finite_rows(Splats.joined(parts), path))
