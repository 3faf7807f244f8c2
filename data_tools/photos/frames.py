"""One photo of a data set: its camera in the normalised world, and how its file becomes that camera's pixels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ..readers.types import Source, SourceCamera, SourceFrame
from .downscale import Downscale, full_size, oriented, photo_sizes
from .images import read_header, read_mask, read_pixels, resize_area
from .masks import MaskSource, dark_background, eroded
from .strips import shrunk_in_strips
from .undistort import Pinhole, rescaled, sampling_map, to_pinhole

REACH = 4
"""Rows around a point that cubic resampling reads, and some more."""


@dataclass(frozen=True)
class Loading:
    """The way from a file to working pixels: decode, turn upright, undistort, shrink."""

    upright: bool
    """EXIF orientation is applied."""
    camera: SourceCamera
    """Of the file's pixels."""
    pinhole: Pinhole | None
    """What they are undistorted to; None = they are a pinhole camera's already."""
    mask: MaskSource
    mask_sizes: tuple[tuple[int, int], ...]
    """Width and height that a mask file may have: the file's, or the full-size photo's."""
    keep: bool
    """Undistorted pixels that the photo does not see stay, masked."""


@dataclass(frozen=True)
class Frame:
    """A photo and its camera; no pixels yet."""

    name: str
    """Unique in the data set: without folders where it is so, too."""
    whole_name: str
    """Path below the folder of photos."""
    path: Path
    source: SourceCamera
    """Intrinsics as the source gives them."""
    camera: Cameras
    """One pinhole camera (float64) of the working pixels, in the normalised world."""
    loading: Loading


def with_short_names(source: Source) -> Source:
    """The source sorted by name, names without folders where they stay different.

    Raises:
        InputError: two photos of one name.
    """
    count = Counter(frame.name for frame in source.frames)
    for name, times in count.items():
        if times > 1:
            raise InputError(f"{source.described_in}: {name} is listed {times} times: remove all but one")
    short = {name: PurePosixPath(name).name for name in count}
    if len(set(short.values())) < len(short):
        short = {name: name for name in count}
    frames = tuple(dataclasses.replace(frame, name=short[frame.name], listed=frame.name) for frame in source.frames)
    parts = source.split and tuple(tuple(short[name] for name in part) for part in source.split)
    return dataclasses.replace(source, frames=tuple(sorted(frames, key=lambda f: f.name)), split=parts)


def make_frame(
    frame: SourceFrame,
    mask: MaskSource,
    downscale: Downscale,
    keep: bool,
    source_from_world: Float[Tensor, "4 4"],
    described_in: Path,
) -> tuple[Frame, str]:
    """The frame in working pixels and the normalised world, and a note where the photo's size is unexpected, else "".

    Raises:
        InputError: a photo of another shape than the camera.
    """
    path = frame.paths[downscale.stored]
    upright = oriented(frame, read_header(path))
    sizes = photo_sizes(frame)
    file_size = sizes[downscale.stored]
    note = _check_size(frame.camera, file_size, path, described_in, expected=downscale.stored)
    camera = rescaled(frame.camera, *file_size)
    pinhole, moves = to_pinhole(camera, keep)
    shrink = downscale.stored / downscale.factor
    width, height = (max(1, round(side * shrink)) for side in (pinhole.width, pinhole.height))
    viewmat = torch.from_numpy(frame.camera_from_source.copy())
    scale, offset = source_from_world[0, 0], source_from_world[:3, 3]
    # x_camera = R (scale x_world + offset) + t; divided by scale, it is a rotation again
    viewmat[:3, 3] = (viewmat[:3, :3] @ offset + viewmat[:3, 3]) / scale
    cameras = Cameras(viewmat[None], torch.from_numpy(pinhole.K)[None], pinhole.width, pinhole.height)
    mask_sizes = (file_size, full_size(frame, sizes))
    loading = Loading(upright, camera, pinhole if moves else None, mask, mask_sizes, keep)
    name = frame.listed or frame.name
    return Frame(frame.name, name, path, frame.camera, cameras.resized(width, height), loading), note


def _check_size(camera: SourceCamera, size: tuple[int, int], path: Path, described_in: Path, expected: int) -> str:
    """Says where the photo is another size than expected; raises where it has another shape."""
    ratio_x, ratio_y = size[0] / camera.width, size[1] / camera.height
    if abs(ratio_x / ratio_y - 1) > 1.01 * (1 / size[0] + 1 / size[1]):
        raise InputError(
            f"{path}: {size[0]}x{size[1]} pixels, but {described_in} is for {camera.width}x{camera.height}, "
            "another shape: use the photos that the cameras were computed from"
        )
    if abs(size[0] - camera.width / expected) <= 1 and abs(size[1] - camera.height / expected) <= 1:
        return ""
    return (
        f"photos are {size[0]}x{size[1]}, {described_in.name} has intrinsics for {camera.width}x{camera.height}: "
        "scaled to the photos"
    )


def read_frame(frame: Frame) -> tuple[Float32[ndarray, "H W 3"], Bool[ndarray, "H W"] | None]:
    """Working pixels in [0, 1], and the mask of those that count; None = all of them.

    Raises:
        InputError: a missing or broken file, or a mask of another size.
    """
    loading, camera = frame.loading, frame.camera
    pixels = read_pixels(frame.path, loading.upright, alpha=loading.mask.kind == "alpha")
    if (pixels.shape[1], pixels.shape[0]) != (loading.camera.width, loading.camera.height):
        raise InputError(f"{frame.path}: the photo has changed its size since it was first looked at: start again")
    whole_mask = _file_mask(frame, pixels)
    rows = partial(_stored if loading.pinhole is None else _undistorted, pixels, whole_mask, loading)
    size = loading.pinhole or loading.camera
    image, mask = shrunk_in_strips(rows, (size.width, size.height), (camera.width, camera.height))
    image = image.clip(0, 1)  # cubic resampling overshoots at edges
    if mask is None:
        return image, None
    return image, eroded(mask > 0.5, loading.mask.erode) if loading.mask.erode else mask > 0.5


def _file_mask(frame: Frame, pixels: UInt8[ndarray, "H W C"]) -> Float32[ndarray, "H W"] | None:
    """The mask, 0 to 1, at the size of the file, before undistortion."""
    loading = frame.loading
    source = loading.mask
    if source.kind == "alpha":
        return pixels[..., 3].astype(np.float32) / 255
    if source.kind == "dark":
        return dark_background(_colours(pixels))
    if source.path is None:
        return None
    mask = read_mask(source.path, loading.upright)
    if (mask.shape[1], mask.shape[0]) not in loading.mask_sizes:
        width, height = loading.mask_sizes[0]
        raise InputError(
            f"{source.path}: mask of {mask.shape[1]}x{mask.shape[0]} pixels for a photo of {width}x{height}: "
            "make it the photo's size"
        )
    return resize_area(1 - mask if source.invert else mask, pixels.shape[1], pixels.shape[0])


def _colours(pixels: UInt8[ndarray, "H W C"]) -> Float32[ndarray, "H W 3"]:
    return pixels[..., :3].astype(np.float32) / 255


def _stored(
    pixels: UInt8[ndarray, "H W C"], mask: Float32[ndarray, "H W"] | None, loading: Loading, start: int, stop: int
) -> tuple[Float32[ndarray, "h W 3"], Float32[ndarray, "h W"] | None]:
    """Rows of image and mask as they are stored."""
    return _colours(pixels[start:stop]), None if mask is None else mask[start:stop]


def _undistorted(
    pixels: UInt8[ndarray, "H W C"], mask: Float32[ndarray, "H W"] | None, loading: Loading, start: int, stop: int
) -> tuple[Float32[ndarray, "h w 3"], Float32[ndarray, "h w"] | None]:
    """Rows of image and mask, resampled to the pinhole camera from those rows of the photo that they show."""
    import cv2

    assert loading.pinhole is not None
    x, y, seen = sampling_map(loading.camera, loading.pinhole, start, stop)
    shown = y if not loading.keep else y[seen] if seen.any() else y[:1, :1]  # what is not seen becomes 0
    first, last = (int(np.clip(end, 0, len(pixels) - 1)) for end in (shown.min() - REACH, shown.max() + REACH))
    y = y - np.float32(first)
    image = cv2.remap(_colours(pixels[first : last + 1]), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if mask is not None:
        mask = cv2.remap(mask[first : last + 1], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if loading.keep:
        image = np.where(seen[..., None], image, np.float32(0))
        mask = seen.astype(np.float32) if mask is None else mask * seen
    return image, mask
