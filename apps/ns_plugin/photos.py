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

    Where masked pixels must be empty, photos get the mask as their alpha. A photo that needs nothing is its own file.
    """
    folder = folder or user_cache_path("gs-reg") / "nerfstudio"
    photos, masks = [], []
    for name in names:
        frame = dataset.frame(name)
        if dataset.mask_mode == "none" and _as_it_is(frame):
            photos.append(frame.path)
            continue
        target = folder / _digest(frame) / f"{dataset.stems[name]}.png"
        mask_file = target.with_suffix(".mask.png")
        if not target.exists() or (dataset.mask_mode == "ignore" and not mask_file.exists()):
            _write(frame, dataset.mask_mode, target, mask_file)
        photos.append(target)
        masks.append(mask_file)
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


def _digest(frame: Frame) -> str:
    """Of all that decides the pixels: another size, camera or mask, or a changed photo, gets another folder."""
    stat = frame.path.stat()
    size = frame.camera.width, frame.camera.height
    text = repr((str(frame.path.resolve()), stat.st_mtime_ns, stat.st_size, size, frame.loading))
    return hashlib.sha256(text.encode()).hexdigest()[:20]
