"""Renders, photos, depth maps and videos of a run as data URIs for the report."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .images import error_map, file_data_uri, jpeg_data_uri, read_rgb

MAX_VIDEO_BYTES = 12_000_000


@dataclass(frozen=True)
class Comparison:
    """A render beside the photo of the same view; all pictures are data URIs, and `files` the whole ones."""

    name: str
    ratio: float
    """Width over height."""
    render: str
    photo: str | None
    error: str | None
    figures: tuple[str, ...]
    render_file: str
    """Of the whole picture, from the folder of the run."""
    photo_file: str


@dataclass(frozen=True)
class DepthPair:
    """Depth of a training photo before and after training, as data URIs."""

    name: str
    initial: str
    trained: str | None
    initial_file: str
    trained_file: str


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
        render_file=_link(path, path.parents[2]),
        photo_file=_link(photo_path, path.parents[2]),
    )


def depth_pairs(folder: Path) -> list[DepthPair]:
    """Depth maps before training, each with the one that the trained Gaussians render."""
    pairs = []
    for path in sorted(folder.glob("[!.]*.png")):
        if not path.stem.endswith("_trained"):
            trained = folder / f"{path.stem}_trained.png"
            after = file_data_uri(trained) if trained.is_file() else None
            files = _link(path, folder.parent), _link(trained, folder.parent)
            pairs.append(DepthPair(path.stem, file_data_uri(path), after, *files))
    return pairs


def _link(path: Path, run: Path) -> str:
    """A file of the run, as a link in its report."""
    return quote(path.relative_to(run).as_posix())


def links(run: Path) -> list[tuple[str, str]]:
    """Link and name of what one opens: splats, web pages, videos; those that are there."""
    found = [run / "splats.ply", *sorted(run.glob("[!.]*.html")), *sorted((run / "exports").glob("[!.]*"))]
    found += sorted((run / "videos").glob("[!.]*.mp4"))
    return [
        (_link(path, run), f"{path.relative_to(run).as_posix()} ({path.stat().st_size / 1e6:.1f} MB)")
        for path in found
        if path.is_file() and path.name != "report.html"
    ]


def videos(run: Path) -> list[tuple[str, str | None, str]]:
    """Name, data URI (None where the file is too large for the page) and link."""
    out = []
    for path in sorted((run / "videos").glob("[!.]*.mp4")):
        out.append((f"videos/{path.name}", video_uri(path), _link(path, run)))
    return out


def video_uri(path: Path) -> str | None:
    """None where it is too large for a page."""
    if path.stat().st_size > MAX_VIDEO_BYTES:
        return None
    return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
