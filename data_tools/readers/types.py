"""What a reader hands over: cameras and files as the source has them, before undistortion, resizing and normalising."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxtyping import Float, Int
from numpy import ndarray

DatasetKind = Literal[
    "llff",
    "colmap",
    "transforms",
    "neus",
    "strecha",
    "middlebury-multiview",
    "middlebury-stereo",
    "photos",
]


@dataclass(frozen=True)
class SourceCamera:
    """Intrinsics by COLMAP's model names and parameter orders; pixels with the image corner at 0."""

    model: str
    params: tuple[float, ...]
    width: int
    height: int


@dataclass(frozen=True)
class SourceFrame:
    """One photo of a source."""

    name: str
    """Path below the folder of photos."""
    paths: Mapping[int, Path]
    """The photo at full size (1) and in the folders images_N (N); at least one."""
    camera: SourceCamera
    camera_from_source: Float[ndarray, "4 4"]
    """World-to-camera matrix (float64), OpenCV axes: x right, y down, z forward."""
    mask_path: Path | None = None
    """Where the source names a mask file."""
    upright: bool | None = False
    """Camera belongs to the pixels after EXIF orientation; False = as stored; None = whichever fits its size."""
    listed: str = ""
    """The name with its folders, where `name` has been shortened."""


@dataclass(frozen=True)
class Source:
    """All that a folder tells."""

    kind: DatasetKind
    described_in: Path
    """The file or folder with the cameras, for messages."""
    frames: tuple[SourceFrame, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    """Name and reason of photos that cannot be used."""
    points: Float[ndarray, "P 3"] | None = None
    """Sparse points (float64)."""
    bits: int = 64
    """Of the floats that the cameras are stored as."""
    tracks: Callable[[], Mapping[str, Int[ndarray, "_"]]] | None = None
    """Gives the numbers of the points that each photo sees, by the frames' names, where the source tells them."""
    units: str = "unknown"
    world_scale: float | None = None
    """World units per source unit where the format fixes it, then nothing is recentred; None = from the cameras."""
    split: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    """Names to train on and to test on, where the source has its own split."""
    notes: tuple[str, ...] = field(default=())
