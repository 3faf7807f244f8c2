"""A folder of photos as a data set: cameras in one normalised world, split into training and test, pixels on demand."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import shifted
from gs_reg.types import Scene, Views

from . import readers
from .checks import check_camera, check_points, check_pose
from .overlap import overlapping, shares_of
from .photos.downscale import LONGEST, Downscale, choose_downscale
from .photos.frames import Frame, make_frame, read_frame, with_short_names
from .photos.masks import MaskChoice, MaskMode, find_masks
from .photos.names import file_stems
from .readers.types import DatasetKind, Source
from .split import called, split
from .world import normalisation, offset_note

__all__ = ["Dataset", "Frame", "ReadConfig", "finer", "load_scene", "load_views", "read_dataset"]


@dataclass(frozen=True)
class ReadConfig:
    """How photos are read and split."""

    views: int | None = None
    """Number of training views, at even distances among the photos that are not held out, or others where those do not
    overlap; default all of them."""
    train: tuple[str, ...] = ()
    """Photos to train on, by name (with or without folders and ending) or index in sorted order."""
    test: tuple[str, ...] = ()
    """Photos to hold out, by name (with or without folders and ending) or index in sorted order."""
    test_every: int | None = None
    """Hold out every n-th photo from the first on, 0 = none; default the source's split, else 8 (0 for under 10)."""
    downscale: Literal["auto"] | float = "auto"
    """Shrink photos by this factor; auto = to --long-side, or less where a folder images_N is near it."""
    long_side: int = LONGEST
    """Most pixels of the long side under --downscale auto."""
    masks: MaskChoice = "auto"
    """What masked pixels mean: ignore = in no loss, transparent = empty; dark = empty where the background is black;
    auto = transparent for alpha channels, ignore for mask files."""
    mask_dir: Path | None = None
    """Folder of masks NAME.png or NAME.EXT.png, white = keep, in folders as the photos; default `masks` or `mask`."""
    mask_invert: bool = False
    """Mask files are black where pixels are kept."""
    mask_erode: int = 0
    """Shrink the kept area by this many working pixels, against masks that are a little too wide."""
    undistort: Literal["crop", "keep"] = "crop"
    """Edges of photos with lens distortion: crop to valid pixels, or keep all and mask the invalid."""
    images: Path | None = None
    """Folder of the photos, where it is not the usual one."""
    kind: Literal["auto"] | DatasetKind = "auto"
    """What the folder is; auto = found out."""
    cache_dir: Path | None = None
    """Where the cameras of plain photos are kept; default .gs-reg/sfm beside them."""


@dataclass(frozen=True)
class Dataset:
    """Photos with their cameras, before any pixel is read."""

    kind: DatasetKind
    root: Path
    frames: tuple[Frame, ...]
    """All usable photos, sorted by name."""
    train: tuple[str, ...]
    test: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    """Name and reason of photos that are left out."""
    points: Float[Tensor, "P 3"] | None
    """Sparse points (float64) in the normalised world."""
    source_from_world: Float[Tensor, "4 4"]
    """Scale and translation (float64) from the normalised world to the source's frame; never a rotation."""
    offset: Float[Tensor, "3"]
    """What written files leave out of the source's coordinates (float64): 0 unless float32 would ruin them."""
    units: str
    """Of the source's frame: metres or unknown."""
    mask_mode: MaskMode
    downscale: Downscale
    notes: tuple[str, ...]
    """Choices and warnings that a user should see."""

    @property
    def file_from_world(self) -> Float[Tensor, "4 4"]:
        """From the normalised world to the coordinates of written files: the source's, less the offset."""
        return shifted(self.source_from_world, self.offset)

    def frame(self, name: str) -> Frame:
        for frame in self.frames:
            if frame.name == name:
                return frame
        raise InputError(f"{self.root}: no photo {name!r}")

    @property
    def whole_names(self) -> dict[str, str]:
        """Paths below the folder of photos, by name."""
        return {frame.name: frame.whole_name for frame in self.frames}

    @property
    def stems(self) -> dict[str, str]:
        """What a run's files of each photo are called, without their endings, by name."""
        return file_stems(frame.name for frame in self.frames)

    def summary(self) -> dict[str, Any]:
        """Plain values for dataset.json; of the files, training photos alone are opened (for their digests)."""
        return {
            "kind": self.kind,
            "root": str(self.root),
            "train": list(self.train),
            "test": list(self.test),
            "skipped": [list(pair) for pair in self.skipped],
            "downscale": {**dataclasses.asdict(self.downscale), "resized": self.downscale.resized},
            "masks": self.mask_mode,
            "units": self.units,
            "source_from_world": self.source_from_world.tolist(),
            "points": 0 if self.points is None else len(self.points),
            "notes": list(self.notes),
            "photos": [self._photo(frame) for frame in self.frames],
        }

    def _photo(self, frame: Frame) -> dict[str, Any]:
        trained = frame.name in self.train
        return {
            "name": frame.name,
            "file": str(frame.path),
            "use": "train" if trained else "test" if frame.name in self.test else None,
            "size": [frame.camera.width, frame.camera.height],
            "K": frame.camera.Ks[0].tolist(),
            "sha256": hashlib.sha256(frame.path.read_bytes()).hexdigest() if trained else None,
            "coverage": self._coverage(frame) if trained else None,
        }

    def _coverage(self, frame: Frame) -> float | None:
        """Share of the pixels that count; None = no mask."""
        if self.mask_mode == "none":
            return None
        _, mask = read_frame(frame)
        return None if mask is None else round(float(mask.mean()), 4)


@np.errstate(all="ignore")  # the files may hold any numbers; checks refuse what is not finite in the end
def read_dataset(path: str | Path, config: ReadConfig = ReadConfig()) -> Dataset:
    """Reads cameras and photo headers, no pixels; "motorcycle" is the built-in stereo pair.

    The world is the source's frame, shifted and scaled, not turned: the mean camera centre becomes 0 and the mean
    distance from it 1 (LLFF: nearest depth 1 / 0.75, no shift unless it is far from the origin).

    Raises:
        InputError: what is not a data set, or one with a fault; names the file.
    """
    kind = readers.detect(path) if config.kind == "auto" or not Path(path).is_dir() else config.kind
    source = readers.read(path, kind, config.images, config.cache_dir)
    source = _checked(source)
    root = source.described_in if not Path(path).is_dir() else Path(path)
    downscale = choose_downscale(config.downscale, source.frames, config.long_side)
    mask_options = config.mask_dir, config.mask_invert, config.mask_erode
    mode, mask_sources, mask_notes = find_masks(source.frames, config.masks, root, *mask_options)
    source_from_world, offset = normalisation(source)
    made = [
        make_frame(frame, mask, downscale, config.undistort == "keep", source_from_world, source.described_in)
        for frame, mask in zip(source.frames, mask_sources, strict=True)
    ]
    frames = tuple(frame for frame, _ in made)
    if config.undistort == "keep" and any(frame.loading.pinhole for frame in frames):
        mode, mask_notes = _masked_rims(mode, mask_notes)
    sized = tuple(dict.fromkeys(note for _, note in made if note))
    whole_names = {frame.name: frame.whole_name for frame in frames}
    asked = _present(config.train, source), _present(config.test, source)
    points = None
    if source.points is not None:
        middle, scale = source_from_world[:3, 3], source_from_world[0, 0]
        points = (torch.from_numpy(source.points) - middle) / scale
        check_points(points, str(source.described_in))
    train, test = split(whole_names, config.views, *asked, config.test_every, source.split)
    if config.views is not None:
        pool, _ = split(whole_names, None, *asked, config.test_every, source.split)
        train, note = overlapping(train, pool, lambda names: shares_of(names, frames, source.tracks, points))
        mask_notes = (*mask_notes, *([note] if note else []))
    return Dataset(
        kind=source.kind,
        root=root,
        frames=frames,
        train=train,
        test=test,
        skipped=source.skipped,
        points=points,
        source_from_world=source_from_world,
        offset=offset,
        units=source.units,
        mask_mode=mode,
        downscale=downscale,
        notes=(*source.notes, *offset_note(source, offset), *mask_notes, *sized),
    )


def finer(dataset: Dataset, path: str | Path, config: ReadConfig, times: float) -> Dataset:
    """The same photos at up to `times` the size in use, as far as the files have the pixels."""
    factor = max(dataset.downscale.factor / times, float(dataset.downscale.finest))
    if factor >= dataset.downscale.factor:
        return dataset
    erode = round(config.mask_erode * dataset.downscale.factor / factor)
    chosen = dict(views=None, train=dataset.train, test=dataset.test)
    return read_dataset(path, dataclasses.replace(config, downscale=factor, mask_erode=erode, **chosen))


def load_views(dataset: Dataset, names: Sequence[str]) -> tuple[Views, ...]:
    """The named photos, each a `Views` of one; no other file is opened.

    Raises:
        InputError: an unknown name, a missing or broken file, or a mask of another size.
    """
    views = []
    for name in names:
        frame = dataset.frame(name)
        image, mask = read_frame(frame)
        cameras = frame.camera.to(dtype=torch.float32)
        kept = None if mask is None else torch.from_numpy(mask)[None]
        views.append(Views(cameras, torch.from_numpy(image)[None], (name,), kept))
    return tuple(views)


def load_scene(dataset: Dataset) -> Scene:
    """The training photos alone; test photos are not opened.

    Raises:
        InputError: as load_views, and where masks leave no pixel at all, or --masks dark all of them.
    """
    views = load_views(dataset, dataset.train)
    dark = all(frame.loading.mask.kind == "dark" for frame in dataset.frames)
    if all(view.masks is not None and not view.masks.any() for view in views):
        remedy = "leave --masks dark out" if dark else "white = keep (--mask-invert turns them)"
        raise InputError(f"{dataset.root}: the masks of the training photos keep no pixel: {remedy}")
    if dark and all(view.masks is not None and view.masks.all() for view in views):
        raise InputError(f"--masks dark: no effect: no training photo in {dataset.root} has a dark background")
    points = None if dataset.points is None else dataset.points.float()
    return Scene(views, points, dataset.source_from_world)


def _checked(source: Source) -> Source:
    """The source with sorted, short names and checked poses.

    Raises:
        InputError: no frame at all, two of one name, or a camera or pose that is none.
    """
    place = source.described_in
    if not source.frames:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in source.skipped[:3])
        raise InputError(
            f"{place}: no usable photo" + (f" ({reasons} ...); --images names their folder" if reasons else "")
        )
    taken: dict[Path, str] = {}
    for frame in source.frames:
        for path in frame.paths.values():
            if taken.setdefault(path, frame.name) != frame.name:
                raise InputError(f"{place}: {taken[path]} and {frame.name} are one photo, {path}: which is it?")
        check_camera(frame.camera, f"{place}: {frame.name}")
        check_pose(frame.camera_from_source, f"{place}: {frame.name}")
    return with_short_names(source)


def _masked_rims(mode: MaskMode, notes: tuple[str, ...]) -> tuple[MaskMode, tuple[str, ...]]:
    """Pixels that undistortion keeps but the photo does not see must be ignored: nobody knows them to be empty."""
    if mode == "transparent":
        raise InputError("--undistort keep: its unseen rims would count as empty under transparent masks: use crop")
    return "ignore", (*notes, "masks: ignore, for the rims that undistortion leaves unseen")


def _present(asked: Sequence[str], source: Source) -> tuple[str, ...]:
    """The names as asked.

    Raises:
        InputError: one of them was left out.
    """
    whole = [frame.listed for frame in source.frames]
    for name in asked:
        for skipped, reason in source.skipped:
            if called(name, [skipped]) and not called(name, whole):
                raise InputError(f"{skipped}: asked for, but {reason}")
    return tuple(asked)
