"""Working photos as files, as nerfstudio opens photos by itself: undistorted, upright and shrunk by our readers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from platformdirs import user_cache_path

from gs_reg.data_tools.dataset import Dataset, Frame
from gs_reg.data_tools.photos.frames import read_frame
from gs_reg.io.atomic import atomic_path

EXIF_ORIENTATION = 0x0112


def working_photos(
    dataset: Dataset, names: Sequence[str], folder: Path | None = None
) -> tuple[list[Path], list[Path] | None]:
    """Files of the photos, and of their masks where the data set ignores masked pixels.

    Where masked pixels must be empty, photos get the mask as their alpha. Photos that need nothing are their own files.
    """
    frames = [dataset.frame(name) for name in names]
    if dataset.mask_mode == "none" and all(map(_as_it_is, dataset.frames)):
        return [frame.path for frame in frames], None
    # one folder for all photos: nerfstudio names its pictures by their paths below the common one
    folder = (folder or user_cache_path("gs-reg") / "nerfstudio").absolute() / _digest(dataset)
    photos = [folder / f"{dataset.stems[name]}.png" for name in names]
    masks = [folder / "masks" / photo.name for photo in photos]
    for frame, photo, mask in zip(frames, photos, masks, strict=True):
        if not photo.exists():
            _write(frame, dataset.mask_mode, photo, mask)
    return photos, masks if dataset.mask_mode == "ignore" else None


def _as_it_is(frame: Frame) -> bool:
    if frame.loading.pinhole is not None:
        return False
    with Image.open(frame.path) as image:
        same_size = image.size == (frame.camera.width, frame.camera.height)
        return same_size and image.mode == "RGB" and image.getexif().get(EXIF_ORIENTATION, 1) == 1


def _write(frame: Frame, mode: str, target: Path, mask_file: Path) -> None:
    image, mask = read_frame(frame)
    pixels = (image * 255).round().astype(np.uint8)
    kept = np.ones(pixels.shape[:2], bool) if mask is None else mask
    if mode == "transparent":
        pixels = np.dstack([pixels, kept.astype(np.uint8) * 255])
    if mode == "ignore":
        with atomic_path(mask_file) as temporary:
            Image.fromarray(kept.astype(np.uint8) * 255).save(temporary)
    with atomic_path(target) as temporary:
        Image.fromarray(pixels).save(temporary, compress_level=1)


def _digest(dataset: Dataset) -> str:
    """Of all that decides the pixels: another size, camera or mask, or a changed photo, gets another folder."""
    text = repr(dataset.mask_mode)
    for frame in dataset.frames:
        stat, size = frame.path.stat(), (frame.camera.width, frame.camera.height)
        text += repr((str(frame.path.resolve()), stat.st_mtime_ns, stat.st_size, size, frame.loading))
    return hashlib.sha256(text.encode()).hexdigest()[:20]
