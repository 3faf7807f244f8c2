"""Pictures of a capture on disk, one file each or frames of a video, as working pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError

from ..photos.images import read_header, read_pixels, resize_area
from .colors import corrected
from .videos import Unpacked, frame_size


@dataclass(frozen=True)
class Picture:
    """A photo or a mask: a file, or one frame of a video."""

    path: Path
    frame: int | None = None
    """Of the video; None = a picture file."""

    @property
    def label(self) -> str:
        return str(self.path) if self.frame is None else f"{self.path}: frame {self.frame}"

    def size(self) -> tuple[int, int]:
        """Width and height.

        Raises:
            InputError: missing or broken.
        """
        return read_header(self.path).size(upright=False) if self.frame is None else frame_size(self.path)


@dataclass(frozen=True)
class PictureFiles:
    """Where each photo and mask lies, by frame and camera, and what is done to them."""

    photos: Sequence[Sequence[Picture]]
    masks: Sequence[Sequence[Picture]]
    width: int
    height: int
    """Working size."""
    unpacked: Unpacked
    color_matrices: Mapping[int, Float[ndarray, "3 K"]]
    """Corrections by camera; others stay as they are."""

    def photo(self, frame: int, camera: int) -> UInt8[Tensor, "H W 3"]:
        """
        Raises:
            InputError: missing, broken, or of another size than the camera's first photo.
        """
        pixels = resize_area(self._file(self.photos[frame][camera], camera), self.width, self.height)
        if camera in self.color_matrices:
            pixels = corrected(pixels, self.color_matrices[camera])
        return torch.from_numpy(pixels.copy())

    def mask(self, frame: int, camera: int) -> UInt8[Tensor, "H W"]:
        """
        Raises:
            InputError: missing, broken, empty, or of another size than the camera's first photo.
        """
        picture = self.masks[frame][camera]
        pixels = resize_area(self._file(picture, camera)[..., 1], self.width, self.height)
        if not pixels.any():
            raise InputError(f"{picture.label}: an empty mask: expected the person in white; draw it again")
        return torch.from_numpy(pixels.copy())

    def check_headers(self) -> None:
        """Opens every picture file without decoding it; videos are left to those who unpack them.

        Raises:
            InputError: missing, no picture, or of another size than the camera's first photo.
        """
        for row in (*self.photos, *self.masks):
            for camera, picture in enumerate(row):
                if picture.frame is None:
                    self._check_header(picture, camera)

    def check_pixels(self, frame: int, camera: int) -> None:
        """Reads a photo and its mask whole, where they are picture files.

        Raises:
            InputError: one is missing, broken or of another size, or the mask is empty.
        """
        photo = self.photos[frame][camera]
        if photo.frame is None:
            self._file(photo, camera)
        if self.masks[frame][camera].frame is None:
            self.mask(frame, camera)

    @cached_property
    def _sizes(self) -> tuple[tuple[int, int] | None, ...]:
        """Of each camera's first photo; None where that is a frame of a video."""
        return tuple(photo.size() if photo.frame is None else None for photo in self.photos[0])

    def _check_header(self, picture: Picture, camera: int) -> None:
        size, expected = picture.size(), self._sizes[camera]
        if expected is not None and size != expected:
            first = self.photos[0][camera].label
            raise InputError(
                f"{picture.label}: {size[0]}x{size[1]} pixels: expected {expected[0]}x{expected[1]}, as {first} has"
            )

    def _file(self, picture: Picture, camera: int) -> UInt8[ndarray, "H W 3"]:
        if picture.frame is not None:
            return read_pixels(self.unpacked.frame(picture.path, picture.frame), upright=False)
        self._check_header(picture, camera)
        return read_pixels(picture.path, upright=False)
