"""The data set of a teacher: buffers of many shapes from many sides on disk, split by shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_folder
from gs_reg.io.digest import file_sha256
from gs_reg.types import Cameras

from .buffers import Buffers, draw
from .cameras import random_cameras
from .families import PARTS, Object, make_object
from .solids import Array

VERSION = 1
"""Of the generator: raise it when the same seed would give other pictures."""
SPLITS = ("train", "validation", "test")
INDEX = "index.json"


@dataclass(frozen=True)
class DataConfig:
    size: int = 64
    """Side of the pictures in pixels; each is stored as 2 x 2 subpixels."""
    shapes: int = 2016
    """Shapes to train on, the same number of each family."""
    held_out: int = 192
    """Shapes that only measure: half of them to choose settings by (validation), half for the figures (test)."""
    views: int = 24
    """Cameras around each shape."""
    crops: float = 0.25
    """Share of the views that look at one part from near."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size % 32 or self.size < 32:
            raise InputError(f"size: expected a multiple of 32, got {self.size}")
        for name, least in (("shapes", len(PARTS)), ("held_out", 2 * len(PARTS)), ("views", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if not 0 <= self.crops <= 1:
            raise InputError(f"crops: expected a share from 0 to 1, got {self.crops}")

    @property
    def counts(self) -> dict[str, int]:
        """Shapes of each split."""
        return {"train": self.shapes, "validation": self.held_out // 2, "test": self.held_out - self.held_out // 2}


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures of one split; arrays stay on disk. Row i belongs to shape i // views."""

    buffers: Buffers
    families: Array
    """Row in PARTS."""
    seeds: Array
    """Of make_object."""
    places: Array
    """Azimuth and elevation of the camera in degrees."""
    viewmats: Array
    Ks: Array

    def __len__(self) -> int:
        return len(self.families)

    def family(self, row: int | np.integer) -> str:
        return tuple(PARTS)[int(self.families[row])]

    def object(self, row: int | np.integer) -> Object:
        return make_object(self.family(row), int(self.seeds[row]))

    def cameras(self, row: int | np.integer, size: int) -> Cameras:
        """The camera of a picture of `size` pixels."""
        stored = self.buffers.codes.shape[-1]
        viewmat, K = (torch.tensor(values[row : row + 1]) for values in (self.viewmats, self.Ks))
        return Cameras(viewmat, K, stored, stored).resized(size, size)


ARRAYS = ("codes", "shades", "gloss", "families", "seeds", "places", "viewmats", "Ks")


def write_dataset(folder: Path, config: DataConfig, report: Callable[[str, float], None] = lambda *_: None) -> None:
    """Draws all pictures; the same config gives the same files. The folder is complete or absent."""
    total, done = sum(config.counts.values()), 0
    with atomic_folder(folder) as temporary:
        for split, count in config.counts.items():
            arrays = _create(temporary, split, count * config.views, 2 * config.size)
            for shape in range(count):
                family = tuple(PARTS)[shape % len(PARTS)]
                seed = shape_seed(split, shape, config.seed)
                _draw_shape(arrays, slice(shape * config.views, (shape + 1) * config.views), family, seed, config)
                done += 1
                report(split, done / total)
            for array in arrays.values():
                array.flush()
            del arrays
        files = {path.name: file_sha256(path) for path in sorted(temporary.iterdir())}
        index = {"version": VERSION, "config": asdict(config), "parts": PARTS, "sha256": files}
        (temporary / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def shape_seed(split: str, shape: int, seed: int = 0) -> int:
    """Of make_object: no two splits have one in common, whatever their counts are."""
    return (seed * len(SPLITS) + SPLITS.index(split)) * 1_000_000 + shape


def _create(folder: Path, split: str, n: int, side: int) -> dict[str, np.memmap]:
    shapes: dict[str, tuple[type, tuple[int, ...]]] = {
        **{name: (np.uint8, (n, side, side)) for name in ARRAYS[:3]},
        "families": (np.uint8, (n,)),
        "seeds": (np.int64, (n,)),
        "places": (np.float32, (n, 2)),
        "viewmats": (np.float32, (n, 4, 4)),
        "Ks": (np.float32, (n, 3, 3)),
    }
    return {k: open_memmap(folder / f"{split}_{k}.npy", "w+", dtype, shape) for k, (dtype, shape) in shapes.items()}


def _draw_shape(arrays: dict[str, np.memmap], rows: slice, family: str, seed: int, config: DataConfig) -> None:
    item = make_object(family, seed)
    cameras = random_cameras(item, config.views, 2 * config.size, config.crops, np.random.default_rng([seed, 1]))
    buffers = draw(item, cameras)
    centers = cameras.centers.numpy()
    flat = np.hypot(centers[:, 0], centers[:, 2])
    places = np.stack([np.arctan2(centers[:, 0], centers[:, 2]), np.arctan2(centers[:, 1], flat)], -1)
    values = (buffers.codes, buffers.shades, buffers.gloss, tuple(PARTS).index(family), seed, np.degrees(places))
    for name, value in zip(ARRAYS, (*values, cameras.viewmats.numpy(), cameras.Ks.numpy()), strict=True):
        arrays[name][rows] = value


def read_index(folder: Path) -> dict:
    """Raises InputError where there is no data set, or one of another generator."""
    path = folder / INDEX
    if not path.is_file():
        raise InputError(f"{folder}: no data set of a teacher; `gs-reg teacher data --out {folder}` makes one")
    with reading(path):
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["version"] != VERSION:
            raise InputError(f"{path}: made by version {index['version']} of the generator, this is {VERSION}")
        return index


def read_split(folder: Path, split: str) -> Split:
    with reading(folder):
        arrays = [np.load(folder / f"{split}_{name}.npy", mmap_mode="r") for name in ARRAYS]
    return Split(Buffers(*arrays[:3]), *arrays[3:])
