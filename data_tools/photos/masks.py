"""Which pixels of a photo count: mask files, alpha channels and dark backgrounds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32
from numpy import ndarray

from gs_reg.errors import InputError

from ..readers.types import SourceFrame
from .images import read_header
from .mask_files import MaskFiles, left_over, mask_folders, unused_masks

MaskMode = Literal["none", "ignore", "transparent"]
"""What masked pixels mean: nothing is masked; in no loss; must be empty."""
MaskChoice = Literal["auto", "none", "ignore", "transparent", "dark"]
MaskFrom = Literal["nothing", "file", "alpha", "dark"]
DARKEST, BRIGHTEST = 0.06, 0.25
"""Between these lies the brightest channel at which a dark background ends: black cloth in light reaches 0.2."""
MARGIN = 1.2
"""The threshold is raised by this factor: it is better to lose the rim of a shadow than to keep a fold of the cloth."""
SPECK, HOLE = 0.05, 0.01
"""Share of the object's area below which another bright patch is a speck, and a dark one a spot on the object."""


@dataclass(frozen=True)
class MaskSource:
    """Where the mask of one photo comes from."""

    kind: MaskFrom
    path: Path | None = None
    invert: bool = False
    """The file is white where pixels are to be left out."""
    erode: int = 0
    """Working pixels by which the kept area shrinks."""


def find_masks(
    frames: Sequence[SourceFrame],
    asked: MaskChoice,
    root: Path,
    mask_dir: Path | None = None,
    invert: bool = False,
    erode: int = 0,
) -> tuple[MaskMode, tuple[MaskSource, ...], tuple[str, ...]]:
    """The mode, a source for each frame, and notes to print.

    Looked up in this order: `mask_dir`, the path that the source gives, the alpha channel, masks/NAME.png,
    masks/NAME.EXT.png, the same in mask/. `auto` is `transparent` where every photo has an alpha channel and `ignore`
    where there are mask files.

    Raises:
        InputError: masks were asked for and there are none, a setting of masks would change nothing, the source names a
            mask outside root, or a file would fit two photos alike.
    """
    if erode < 0:
        raise InputError(f"--mask-erode: expected 0 pixels or more, got {erode}")
    options = {"--mask-dir": mask_dir is not None, "--mask-invert": invert, "--mask-erode": erode > 0}
    if asked == "none":
        _refuse(options, "--masks none uses no masks")
        return "none", (MaskSource("nothing"),) * len(frames), ()
    if asked == "dark":
        _refuse(options | {"--mask-erode": False}, "--masks dark reads no mask files")
        return "transparent", (MaskSource("dark", erode=erode),) * len(frames), ("masks: dark background = empty",)
    folders = (mask_dir, root / mask_dir) if mask_dir is not None else mask_folders(frames, root)
    found = _find_files(frames, root, folders, mask_dir is not None)
    found = tuple(replace(source, invert=invert, erode=erode) for source in found)
    kinds = {source.kind for source in found}
    count = sum(source.kind != "nothing" for source in found)
    if not count:
        if asked == "auto" and mask_dir is None:
            _refuse(options, "no photo has a mask")
            return "none", found, unused_masks(frames, folders)
        place = mask_dir or " or ".join(map(str, folders))
        raise InputError(f"{place}: no masks found: looked for NAME.png and NAME.EXT.png, and for alpha channels")
    if kinds == {"alpha"} or kinds == {"alpha", "nothing"}:
        _refuse({"--mask-invert": invert}, "the masks are alpha channels, where opaque = keep")
    mode = asked if asked != "auto" else "transparent" if kinds == {"alpha"} else "ignore"
    chosen = "chosen by auto because of the alpha channels" if mode == "transparent" else "chosen by auto"
    reason = f", {chosen}" if asked == "auto" else ""
    files = [source.path for source in found if source.path is not None]
    left = left_over(frames, folders, files) if count < len(frames) else ()
    return mode, found, (f"masks: {mode}{reason}; {count} of {len(frames)} photos have one", *left)


def _refuse(given: Mapping[str, bool], reason: str) -> None:
    """Raises InputError where one of these flags was given, as it would change nothing."""
    for flag, is_given in given.items():
        if is_given:
            raise InputError(f"{flag}: no effect: {reason}")


def _find_files(
    frames: Sequence[SourceFrame], root: Path, folders: Sequence[Path], only_there: bool
) -> tuple[MaskSource, ...]:
    """A source for each frame; `only_there` = whatever the source and the photo say."""
    files = MaskFiles(frames, folders)
    found = []
    for frame in frames:
        source = None if only_there else _own(frame, root)
        if source is None:
            path = files.find(frame)
            source = MaskSource("file", path) if path else MaskSource("nothing")
        found.append(source)
    return tuple(found)


def _own(frame: SourceFrame, root: Path) -> MaskSource | None:
    """The mask that the source names, or the photo's alpha channel."""
    if frame.mask_path is not None:
        if not Path(os.path.abspath(frame.mask_path)).is_relative_to(os.path.abspath(root)):
            raise InputError(
                f"{frame.mask_path}: the mask of {frame.name} is outside {root}: name its folder (--mask-dir), or use "
                "--masks none"
            )
        if not frame.mask_path.is_file():
            raise InputError(
                f"{frame.mask_path}: the mask of {frame.name} is missing: put it back, name another folder "
                "(--mask-dir), or use --masks none"
            )
        return MaskSource("file", frame.mask_path)
    if any(path.suffix.lower() in (".png", ".webp", ".tif", ".tiff") for path in frame.paths.values()) and all(
        read_header(path).alpha for path in frame.paths.values()
    ):
        return MaskSource("alpha")
    return None


def eroded(mask: Bool[ndarray, "H W"], pixels: int) -> Bool[ndarray, "H W"]:
    """The mask less a rim of so many pixels; the picture's border is no rim."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.erode(mask.astype(np.uint8), kernel) > 0


def dark_background(image: Float[ndarray, "H W 3"]) -> Float32[ndarray, "H W"]:
    """Mask (0 or 1) of the object on a black background, from colours in [0, 1].

    Threshold on the brightest channel by least cross entropy (Li and Tam 1998), closing, then small holes inside the
    object filled (large ones are seen through) and specks outside dropped.
    """
    import cv2
    from scipy import ndimage
    from skimage.filters import threshold_li

    channel = image.max(axis=2)
    level = MARGIN * threshold_li(channel) if channel.max() > channel.min() else 0.0
    radius = max(2, round(max(image.shape[:2]) / 160))
    smooth = cv2.GaussianBlur(channel, (0, 0), radius / 2)  # lest closing join the noise of dark cloth
    bright = (np.minimum(channel, smooth) > np.clip(level, DARKEST, BRIGHTEST)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = cv2.copyMakeBorder(bright, radius, radius, radius, radius, cv2.BORDER_REFLECT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[radius:-radius, radius:-radius]
    labels = _connected(closed > 0)
    if not labels.any():
        return np.zeros(image.shape[:2], dtype=np.float32)
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.isin(labels, 1 + np.flatnonzero(sizes >= SPECK * sizes.max()))
    holes = _connected(np.asarray(ndimage.binary_fill_holes(kept), dtype=bool) & ~kept)
    small = 1 + np.flatnonzero(np.bincount(holes.ravel())[1:] < HOLE * kept.sum())
    return (kept | np.isin(holes, small)).astype(np.float32)


def _connected(mask: Bool[ndarray, "H W"]) -> Int32[ndarray, "H W"]:
    """Number of the connected component (over the four neighbours) of each pixel, from 1; 0 outside the mask."""
    from scipy import ndimage

    labels = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, output=labels)
    return labels
