"""`gs-reg eval`: figures of a run from its exported splats and the held-out photos; it trains nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from torch import Tensor

from gs_reg import metrics
from gs_reg.data_tools.dataset import load_views, read_dataset
from gs_reg.data_tools.visibility import seen_mask
from gs_reg.render import render
from gs_reg.types import Splats, Views

from .pictures import save_picture
from .progress import say
from .reconstruct import Config as ReconstructConfig
from .run_folder import Run, open_run
from .scene_file import read_scene, stored_splats


@dataclass(frozen=True)
class Config:
    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run."""
    lpips: tuple[Path, ...] = ()
    """Files or folders with the published LPIPS weights (VGG backbone and linear heads); without them LPIPS is n/a."""
    json: bool = False
    """Print result.json on stdout."""


def main(config: Config) -> int:
    run = open_run(config.run)
    result = evaluate(run, config.lpips)
    run.write_json("result.json", result)
    say(summary(result))
    if config.json:
        print(json.dumps(result))
    return 0


def evaluate(run: Run, lpips_paths: tuple[Path, ...] = ()) -> dict:
    """Draws every held-out view from splats.ply, saves it as 8-bit PNG, and measures what was saved."""
    asked = run.config(ReconstructConfig)
    dataset = read_dataset(asked.data, asked.read)
    splats, background = stored_splats(run), read_scene(run).background
    training = load_views(dataset, dataset.train)
    lpips, reason = metrics.find_lpips(lpips_paths)
    views = {}
    for view in load_views(dataset, dataset.test):
        drawn = draw_8bit(splats, view, background, asked)
        save_pair(run.path / "renders" / "test", view, drawn)
        seen = stored_mask(run, view, training)
        views[view.names[0]] = figures(drawn, view, seen, lpips)
    for view in training:
        save_pair(run.path / "renders" / "train", view, draw_8bit(splats, view, background, asked))
    timing = run.read_json("timing.json")
    return {
        "mean": mean_of(list(views.values())),
        "views": views,
        "seconds": timing["total"],
        "steps": timing["steps"],
        "gaussians": len(splats),
        "seed": timing["seed"],
        "lpips": reason,
        "visible": "pixels that dense flow matches in a training photo (data_tools/visibility.py)",
    }


def save_pair(folder: Path, view: Views, drawn: Tensor) -> None:
    stem = Path(view.names[0]).stem
    save_picture(folder / f"{stem}.png", drawn[0])
    save_picture(folder / f"{stem}_photo.png", view.images[0])


def draw_8bit(splats: Splats, view: Views, background: Tensor, asked: ReconstructConfig) -> Tensor:
    with torch.no_grad():
        image = render(splats, view.cameras, asked.train.render, backgrounds=background[None]).colors
    return (image.clamp(0, 1) * 255).round() / 255


def stored_mask(run: Run, view: Views, training: tuple[Views, ...]) -> Tensor:
    mask = seen_mask(view, training)
    save_picture(run.path / "masks" / f"{Path(view.names[0]).stem}.png", mask[..., None].expand(-1, -1, 3).float())
    return mask[None]


def figures(drawn: Tensor, view: Views, seen: Tensor, lpips: metrics.Lpips | None) -> dict[str, float | None]:
    """Over the whole image (or the photo's own mask), and over the pixels that training photos saw."""
    photo, mask = view.images, view.masks
    visible = seen if mask is None else seen & mask
    both = {"": mask, "_visible": visible}
    out: dict[str, float | None] = {}
    for suffix, area in both.items():
        out["psnr" + suffix] = finite(metrics.psnr(drawn, photo, area))
        out["ssim" + suffix] = finite(metrics.ssim(drawn, photo, area))
    out["lpips"] = finite(lpips(drawn, photo)) if lpips else None
    out["coverage"] = finite(metrics.coverage(visible))
    return out


def finite(value: Tensor) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def mean_of(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Mean over views; null where no view has the figure."""
    keys = ("psnr", "ssim", "psnr_visible", "ssim_visible", "lpips", "coverage")
    columns = {key: [row[key] for row in rows if row.get(key) is not None] for key in keys}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def summary(result: dict) -> str:
    """One line for the terminal."""
    mean = result["mean"]
    if mean["psnr"] is None:
        return f"no held-out views to measure; {result['gaussians']:,} Gaussians"
    seen = (
        f"; seen pixels {mean['psnr_visible']:.2f} dB, {mean['ssim_visible']:.3f}"
        if mean["psnr_visible"] is not None
        else ""
    )
    return f"held-out views: PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.3f}{seen} ({len(result['views'])} views)"
