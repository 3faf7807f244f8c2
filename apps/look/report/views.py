"""Renders, photos, depth maps and videos of a run as data URIs for the report."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .images import error_map, file_data_uri, jpeg_data_uri, read_rgb

MAX_VIDEO_BYTES = 12_000_000


@dataclass(frozen=True)
class Comparison:
    """A render beside the photo of the same view; all pictures are data URIs."""

    name: str
    ratio: float
    """Width over height."""
    render: str
    photo: str | None
    error: str | None
    figures: tuple[str, ...]


@dataclass(frozen=True)
class DepthPair:
    """Depth of a training photo before and after training, as data URIs."""

    name: str
    initial: str
    trained: str | None


def comparisons(folder: Path, masks: Path | None, figures: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    """Every render of a folder, <stem>.png, with the photo <stem>_photo.png.

    `masks` is the folder of the masks <stem>.png of seen pixels: the error map is grey elsewhere. `figures` are those
    of result.json, by stem.
    """
    return [
        _comparison(path, masks, figures.get(path.stem, {}))
        for path in sorted(folder.glob("[!.]*.png"))
        if not path.stem.endswith(("_photo", "_depth"))
    ]


def _comparison(path: Path, masks: Path | None, figures: Mapping[str, Any]) -> Comparison:
    render, photo_path = read_rgb(path), path.with_name(f"{path.stem}_photo.png")
    photo = read_rgb(photo_path) if photo_path.is_file() else None
    error = None
    if photo is not None and photo.shape == render.shape:
        mask_path = masks / path.name if masks else None
        seen = read_rgb(mask_path)[..., 0] > 127 if mask_path and mask_path.is_file() else None
        error = jpeg_data_uri(error_map(render, photo, seen))
    templates = {"psnr": "{:.2f} dB", "ssim": "SSIM {:.3f}"}
    return Comparison(
        name=path.stem,
        ratio=render.shape[1] / render.shape[0],
        render=jpeg_data_uri(render),
        photo=None if photo is None else jpeg_data_uri(photo),
        error=error,
        figures=tuple(text.format(figures[key]) for key, text in templates.items() if figures.get(key)),
    )


def depth_pairs(folder: Path) -> list[DepthPair]:
    """Depth maps before training, each with the one that the trained Gaussians render."""
    pairs = []
    for path in sorted(folder.glob("[!.]*.png")):
        if not path.stem.endswith("_trained"):
            trained = folder / f"{path.stem}_trained.png"
            after = file_data_uri(trained) if trained.is_file() else None
            pairs.append(DepthPair(path.stem, file_data_uri(path), after))
    return pairs


def videos(run: Path) -> list[tuple[str, str | None]]:
    """Name and data URI; None where the file is too large for the page."""
    out = []
    for path in sorted((run / "videos").glob("[!.]*.mp4")):
        small = path.stat().st_size <= MAX_VIDEO_BYTES
        uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode() if small else None
        out.append((f"videos/{path.name}", uri))
    return out
