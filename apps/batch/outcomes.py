"""What a job of a batch has made: its figures, and small pictures of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..look.report import read_json
from ..look.report.images import jpeg_data_uri, read_rgb

SIDE = 320
"""Pixels of the longer side of a picture."""
PROTOCOLS = "novel_view", "self_reenactment"
"""Of avatars."""
Figures = dict[str, float]
FIGURES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "reconstruct": {
        **{name: ("mean", name) for name in ("psnr", "ssim", "lpips", "psnr_seen", "coverage")},
        "gaussians": ("gaussians",),
    },
    "edit": {
        "changed": ("locality", "changed"),
        "removed": ("locality", "removed"),
        "added": ("locality", "added"),
        "leakage": ("metrics", "outside_the_mask", "leakage"),
        "clip": ("metrics", "clip", "value"),
        "clip_direction": ("metrics", "clip_direction", "value"),
    },
    "parts": {"gaussians": ("gaussians",), "views": ("views",)},
    "avatar": {f"{p}_{f}": (p, "full", f) for p in PROTOCOLS for f in ("psnr", "ssim", "lpips")},
}
"""Of each kind, where they are in result.json."""


def figures(kind: str, out: Path) -> Figures:
    """Those that the result has; empty where there is no result.

    Raises:
        InputError: the result is broken.
    """
    result = read_json(out / "result.json")
    found = {name: _at(result, way) for name, way in FIGURES.get(kind, {}).items()}
    return {name: float(value) for name, value in found.items() if _is_number(value)}


def _at(value: Any, way: tuple[str, ...]) -> Any:
    for key in way:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def words(found: Figures) -> str:
    """Figures in one line."""
    named = {
        "psnr": "{:.2f} dB",
        "psnr_seen": "{:.2f} dB where seen",
        **{f"{p}_psnr": f"{{:.2f}} dB {p.replace('_', ' ')}" for p in PROTOCOLS},
        "leakage": "{:.1%} leakage",
        "gaussians": "{:,.0f} Gaussians",
        "coverage": "{:.0%} seen",
        **{name: f"{{:,.0f}} {name}" for name in ("changed", "removed", "added", "views")},
    }
    parts = []
    for name, value in found.items():
        if name in ("removed", "added") and not value:
            continue
        parts.append(named.get(name, f"{{:.3f}} {name.replace('_', ' ')}").format(value))
    return ", ".join(parts)


def pictures(kind: str, out: Path) -> list[tuple[str, str]]:
    """Caption and data URI of up to two pictures.

    Raises:
        InputError: a picture is broken.
    """
    if kind == "edit" and (out / "before_after.png").is_file():
        count = len(read_json(out / "before_after.json").get("views", [])) or 1
        sheet = read_rgb(out / "before_after.png")
        height, width = sheet.shape[0] // 4, sheet.shape[1] // count
        return [
            (name, _small(sheet[row * height : (row + 1) * height, :width]))
            for row, name in enumerate(("before", "after"))
        ]
    if kind == "parts" and (out / "preview.png").is_file():
        return [("pictures, maps, parts", _small(read_rgb(out / "preview.png")))]
    if kind == "reconstruct":
        shown = [path for path in sorted((out / "renders" / "test").glob("*.png")) if not path.stem.endswith("_photo")]
        found = [("render", path) for path in shown[:1]]
        found += [("photo", path.with_stem(f"{path.stem}_photo")) for path in shown[:1]]
        return [(name, _small(read_rgb(path))) for name, path in found if path.is_file()]
    if kind in ("avatar", "render"):
        found = sorted(path for path in out.rglob("*.png") if not path.name.startswith("."))
        return [(path.stem, _small(read_rgb(path))) for path in found[:1]]
    return []


def _small(pixels: np.ndarray) -> str:
    step = max(1, max(pixels.shape[:2]) // (2 * SIDE))
    return jpeg_data_uri(np.ascontiguousarray(pixels[::step, ::step]), quality=80)
