"""Downscaling: which of `images`, `images_2`, `images_4` ... is read, and how far its photos are shrunk on load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gs_reg.errors import InputError

from ..readers.types import SourceFrame
from .images import Header, read_header

LONGEST = 1600
"""Long side in pixels that `auto` stays below, where no other is asked for."""
SHORTEST = 32
"""The least that can be asked for."""


@dataclass(frozen=True)
class Downscale:
    """From full-size photos to those in use."""

    factor: float
    """Full size over working size."""
    stored: int
    """N of the folder images_N that is read; 1 = the full-size photos."""
    folder: str
    """Its name."""
    finest: int = 1
    """The least N of the folders that could be read."""

    @property
    def resized(self) -> bool:
        """The photos are shrunk on load, by averaging areas."""
        return self.factor != self.stored

    def __str__(self) -> str:
        how = f"area-resized from {self.folder}" if self.resized else f"{self.folder} as it is"
        return f"1/{self.factor:.4g}, {how}"


def choose_downscale(
    asked: Literal["auto"] | float, frames: Sequence[SourceFrame], longest: int = LONGEST
) -> Downscale:
    """`auto` takes the full-size photos or a folder images_N near `longest`, else shrinks to it on the long side.

    A folder counts as images_N only if every photo in it is 1/N of the full size, rounded up or down.

    Raises:
        InputError: a factor below 1, or finer than any folder that is there; a side below SHORTEST.
    """
    if longest < SHORTEST:
        raise InputError(f"--long-side: expected {SHORTEST} px or more, got {longest}")
    sizes = [photo_sizes(frame) for frame in frames]
    stored = sorted(set.intersection(*(set(size) for size in sizes)))
    full = [full_size(frame, size) for frame, size in zip(frames, sizes, strict=True)]
    fitting = [n for n in stored if all(_fits(s[n], f, n) for s, f in zip(sizes, full, strict=True))]
    if not fitting:
        raise InputError(f"{frames[0].paths}: no folder of photos has them all at one size")
    if asked == "auto":
        factor = max(1.0, max(max(size) for size in full) / longest)
        near = [n for n in fitting if factor <= n <= 2 * factor]
        factor = float(near[0] if near else max(factor, fitting[0]))
    else:
        factor = float(asked)
        if not factor >= 1:
            raise InputError(f"--downscale: expected auto or a number >= 1, got {asked}")
    reads = [n for n in fitting if n <= factor]
    if not reads:
        folder = frames[0].paths[fitting[0]].parent
        raise InputError(
            f"--downscale {asked}: the largest photos are in {folder}: use --downscale {fitting[0]} or more"
        )
    return Downscale(factor, reads[-1], frames[0].paths[reads[-1]].parent.name, fitting[0])


def oriented(frame: SourceFrame, header: Header) -> bool:
    """Whether EXIF orientation is applied: as the source says, or only where the camera's size fits nothing else."""
    if frame.upright is not None:
        return frame.upright
    camera = frame.camera.width / frame.camera.height
    stored, turned = (abs(w / h / camera - 1) for w, h in (header.size(False), header.size(True)))
    return turned < stored


def photo_sizes(frame: SourceFrame) -> dict[int, tuple[int, int]]:
    """Width and height of the photo in every folder."""
    headers = {n: read_header(path) for n, path in frame.paths.items()}
    return {n: header.size(oriented(frame, header)) for n, header in headers.items()}


def full_size(frame: SourceFrame, sizes: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Of the full-size photo; where it is absent the camera's size, if the smaller copies fit it."""
    if 1 in sizes:
        return sizes[1]
    n = min(sizes)
    camera = (frame.camera.width, frame.camera.height)
    return camera if _fits(sizes[n], camera, n) else (n * sizes[n][0], n * sizes[n][1])


def _fits(size: tuple[int, int], full: tuple[int, int], n: int) -> bool:
    return all(abs(side - whole / n) < 1 for side, whole in zip(size, full, strict=True))
