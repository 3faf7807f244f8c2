"""Pictures of a capture on disk, one file each or frames of a video, as working pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
            InputError: missing or broken.
        """
        pixels = resize_area(self._file(self.photos[frame][camera]), self.width, self.height)
        if camera in self.color_matrices:
            pixels = corrected(pixels, self.color_matrices[camera])
        return torch.from_numpy(pixels.copy())

    def mask(self, frame: int, camera: int) -> UInt8[Tensor, "H W"]:
        """
        Raises:
            InputError: missing, broken or empty.
        """
        picture = self.masks[frame][camera]
        pixels = resize_area(self._file(picture)[..., 1], self.width, self.height)
        if not pixels.any():
            raise InputError(f"{picture.label}: an empty mask: expected the person in white; mend it, or leave it out")
        return torch.from_numpy(pixels.copy())

    def _file(self, picture: Picture) -> UInt8[ndarray, "H W 3"]:
        path = picture.path
        if picture.frame is not None:
            path = self.unpacked.frame(path, picture.frame)
        return read_pixels(path, upright=False)
