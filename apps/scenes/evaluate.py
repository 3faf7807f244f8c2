"""`gs-reg eval`: figures of a run from its exported splats and the held-out photos; it trains nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from gs_reg import metrics
from gs_reg.data_tools.dataset import load_views, read_dataset
from gs_reg.data_tools.flow.visibility import seen_mask
from gs_reg.errors import InputError
from gs_reg.render import RenderConfig, render
from gs_reg.types import Splats, Views

from ..look.pictures import save_depth, save_picture
from ..look.scene_file import read_scene, stored_splats
from ..runs.folder import Run, open_run
from ..runs.progress import say
from .config import Config as ReconstructConfig
from .depth_figures import depth_figures, stored_depth
from .stages import plan_stages
from .unseen import HOLE, save_counts, save_unseen, without_filled


@dataclass(frozen=True)
class Config:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    lpips: tuple[Path, ...] = ()
    """Files or folders with the published LPIPS weights (VGG backbone and linear heads); without them LPIPS is n/a."""
    json: bool = False
    """Print result.json on stdout."""


def main(config: Config) -> int:
    from ..look.report import write_report

    run = open_run(config.run)
    result = evaluate(run, config.lpips)
    run.write_json("result.json", result)
    if (run.path / "report.html").is_file():
        write_report(run.path)
    say(summary(result))
    if config.json:
        print(json.dumps(result))
    return 0


def evaluate(run: Run, lpips_paths: tuple[Path, ...] = ()) -> dict:
    """Draws every view from splats.ply, saves it as 8-bit PNG, and measures what was saved of the held-out ones."""
    timing = finished(run)
    asked = run.config(ReconstructConfig)
    dataset = read_dataset(asked.data, asked.read)
    splats, background = stored_splats(run), read_scene(run).background
    measured = without_filled(run, splats)
    training = load_views(dataset, dataset.train)
    lpips, reason = metrics.find_lpips(lpips_paths)
    views = {}
    for view in load_views(dataset, dataset.test):
        drawn, _ = draw_8bit(splats, view, background, asked)
        save_pair(run.path / "renders" / "test", view, drawn)
        seen = stored_mask(run, view, training)
        views[view.names[0]] = {
            **figures(drawn, view, seen, lpips),
            "unseen": save_unseen(run, view, measured, drawing_of(asked)),
        }
    depths = {}
    for view in training:
        name = view.names[0]
        drawn, depths[name] = draw_8bit(splats, view, background, asked)
        save_pair(run.path / "renders" / "train", view, drawn)
        save_depth(run.path / "depths" / f"{Path(name).stem}_trained", depths[name], like=stored_depth(run, name))
    return {
        "mean": mean_of(list(views.values())),
        "views": views,
        "seen_once": save_counts(run, training, depths),
        "depth": depth_figures(run, dataset, asked.data, depths),
        "seconds": timing["total"],
        "steps": timing["steps"],
        "gaussians": len(splats),
        "seed": timing["seed"],
        "lpips": reason,
        "visible": "pixels that dense flow matches in a training photo (data_tools/flow/visibility.py)",
        "unseen": f"pixels where the splats, less those that were made up, leave alpha below {HOLE}",
    }


def finished(run: Run) -> dict:
    """timing.json of a run that has its splats.

    Raises:
        InputError: it has none yet.
    """
    if not run.splats.is_file():
        raise InputError(f"{run.splats}: not there yet; finish the run: gs-reg reconstruct --resume --out {run.path}")
    return run.read_json("timing.json")


def save_pair(folder: Path, view: Views, drawn: Tensor) -> None:
    stem = Path(view.names[0]).stem
    save_picture(folder / f"{stem}.png", drawn[0])
    save_picture(folder / f"{stem}_photo.png", view.photos[0])


def drawing_of(asked: ReconstructConfig) -> RenderConfig:
    """As the last stage drew, but on the CPU, so that the figures do not depend on the machine that is asked for them:
    by the kernels for that, whatever it was trained with."""
    return replace(plan_stages(asked)[-1].train.render, backend="auto")


def draw_8bit(
    splats: Splats, view: Views, background: Tensor, asked: ReconstructConfig
) -> tuple[Float[Tensor, "1 H W 3"], Float[Tensor, "H W"]]:
    """Colours as an 8-bit file holds them, and depth (0 = nothing drawn)."""
    with torch.no_grad():
        image = render(splats, view.cameras, drawing_of(asked), backgrounds=background[None])
    return (image.colors.clamp(0, 1) * 255).round() / 255, image.expected_depths[0, ..., 0]


def stored_mask(run: Run, view: Views, training: tuple[Views, ...]) -> Tensor:
    mask = seen_mask(view, training)
    save_picture(run.path / "masks" / f"{Path(view.names[0]).stem}.png", mask[..., None].expand(-1, -1, 3).float())
    return mask[None]


def figures(drawn: Tensor, view: Views, seen: Tensor, lpips: metrics.Lpips | None) -> dict[str, float | None]:
    """Over the whole image (or the photo's own mask), and over the pixels that training photos saw."""
    photo, mask = view.photos, view.masks
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
    keys = ("psnr", "ssim", "psnr_visible", "ssim_visible", "lpips", "coverage", "unseen")
    columns = {key: [value for row in rows if (value := row.get(key)) is not None] for key in keys}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def summary(result: dict) -> str:
    """One line for the terminal."""
    mean, count = result["mean"], len(result["views"])
    if mean["psnr"] is None:
        return f"no held-out views to measure; {result['gaussians']:,} Gaussians"
    text = f"held-out views ({count}): PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.3f}"
    if mean["psnr_visible"] is not None:
        text += f"; seen pixels {mean['psnr_visible']:.2f} dB, {mean['ssim_visible']:.3f}"
    return text + f"; {mean['unseen']:.1%} of pixels in no photo"
