"""`gs-reg eval`: metrics of a run, from its exported splats and the held-out photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import remove_leftovers
from gs_reg.render import RenderConfig, render
from gs_reg.types import Render, Splats, Views

from ..look.offset import offset_figures
from ..look.pictures import save_depth, save_picture
from ..look.scene_file import splats_frame, stored_splats
from ..runs.folder import Run, open_run
from ..runs.progress import counted, plural, say, stage_bar
from ..runs.results import SEEN
from .config import Config as ReconstructConfig
from .depth_metrics import depth_metrics, stored_depth
from .needles import LONG, THIN, needle_share
from .shots import mean_color
from .stages import plan_stages
from .unseen import HOLE, save_unseen, save_view_counts, without_filled

PICTURE_METRICS = "psnr", "ssim"
METRICS = *PICTURE_METRICS, "psnr_seen", "ssim_seen", "lpips", "coverage", "unseen", "needles"
HEADLINE = "black"
"""The colour behind the splats in the pictures that are saved, and in all metrics but those of `backgrounds`."""


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
    metrics.check_lpips(config.lpips)
    remove_leftovers(run.path)
    with stage_bar("evaluation") as progress:
        result = evaluate(run, config.lpips, progress)
    run.write_json("result.json", result)
    if (run.path / "report.html").is_file():
        write_report(run.path)
    say(summary(result))
    if config.json:
        print(json.dumps(result))
    return 0


def evaluate(
    run: Run,
    lpips_paths: tuple[Path, ...] = (),
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> dict:
    """Renders all views from splats.ply into 8-bit PNGs, and returns the metrics of the held-out ones.

    Metrics are of the 8-bit images, so that anyone can compute them again from the files. Views are rendered over
    black, as viewers show them and as published figures are; "backgrounds" says how far other colours change the means.
    """
    timing = read_timing(run)
    config = run.config(ReconstructConfig)
    dataset = read_dataset(config.data, config.read)
    scene = splats_frame(run)
    splats = stored_splats(run, scene)
    unfilled = without_filled(run, splats)
    training = load_views(dataset, dataset.train)
    behind = colors_behind(mean_color(training))
    lpips, reason = metrics.find_lpips(lpips_paths)
    views, over, stems = {}, [], dataset.stems
    for view in counted(load_views(dataset, dataset.test), progress, "held-out photo"):
        stem = stems[view.names[0]]
        image = draw(splats, view, config)
        over.append(measure_over(behind, image, view))
        rendered = in_8_bits(image, behind[HEADLINE])
        save_render_and_photo(run.path / "renders" / "test" / stem, view, rendered)
        visible = save_visible_mask(run, stem, view, training)
        views[view.names[0]] = {
            **over[-1][HEADLINE],
            **measure_seen(rendered, view, visible, lpips),
            "unseen": save_unseen(run, stem, view, unfilled, render_config_of(config)),
            "needles": needle_share(splats, view.cameras, render_config_of(config)),
        }
    mean = mean_metrics(list(views.values()))
    depths = {}
    for view in counted(training, progress, "training photo"):
        name = view.names[0]
        image = draw(splats, view, config)
        depths[name] = image.expected_depths[0, ..., 0]
        rendered = in_8_bits(image, behind[HEADLINE])
        save_render_and_photo(run.path / "renders" / "train" / stems[name], view, rendered)
        before = stored_depth(run, stems[name])
        save_depth(run.path / "depths" / f"{stems[name]}_trained", depths[name], like=before)
    return {
        "mean": mean,
        "views": views,
        "background": f"{HEADLINE}, in renders/ too",
        "backgrounds": {name: mean_metrics([row[name] for row in over], PICTURE_METRICS) for name in behind},
        "seen_once": save_view_counts(run, training, depths, stems),
        "depth": depth_metrics(run, dataset, config.data, depths),
        "seconds": timing["total"],
        "steps": timing["steps"],
        "gaussians": len(splats),
        "seed": timing["seed"],
        "lpips": reason,
        "seen": f"{SEEN} (data_tools/flow/visibility.py)",
        "unseen": f"pixels where the splats, less those that were made up, leave alpha below {HOLE}",
        "needles": f"drawn by splats whose long axis (one deviation) is over {LONG:g} px and over {THIN:g} short ones",
        **offset_figures(run, scene),
    }


def read_timing(run: Run) -> dict:
    """timing.json of a trained run.

    Raises:
        InputError: the run has no splats yet.
    """
    if not run.splats.is_file():
        raise InputError(f"{run.splats}: not there yet; finish the run: gs-reg reconstruct --resume --out {run.path}")
    timing = run.read_json("timing.json")
    with reading(run.path / "timing.json"):
        if not all(isinstance(timing[key], int | float) for key in ("total", "steps", "seed")):
            raise InputError(f"{run.path / 'timing.json'}: expected numbers")
    return timing


def save_render_and_photo(stem: Path, view: Views, rendered: Tensor) -> None:
    save_picture(stem.with_name(f"{stem.name}.png"), rendered[0])
    save_picture(stem.with_name(f"{stem.name}_photo.png"), view.photos[0])


def render_config_of(config: ReconstructConfig) -> RenderConfig:
    """The render config of the last stage, with the backend for the CPU instead of the one for training.

    Evaluation runs on the CPU, so that metrics do not depend on the machine's GPU.
    """
    return replace(plan_stages(config)[-1].train.render, backend="auto")


def colors_behind(mean: Float[Tensor, "3"]) -> dict[str, Float[Tensor, "3"]]:
    """The colours over which held-out views are measured; `mean` is the mean colour of the training photos."""
    return {"black": torch.zeros(3), "white": torch.ones(3), "mean": mean}


@torch.no_grad()
def draw(splats: Splats, view: Views, config: ReconstructConfig) -> Render:
    return render(splats, view.cameras, render_config_of(config))


def in_8_bits(image: Render, behind: Float[Tensor, "3"]) -> Float[Tensor, "1 H W 3"]:
    """The colours of a picture without background, over one."""
    colors = image.colors + (1 - image.alphas) * behind
    return (colors.clamp(0, 1) * 255).round() / 255


def save_visible_mask(run: Run, stem: str, view: Views, training: tuple[Views, ...]) -> Tensor:
    """The pixels that a training photo shows too, saved as masks/<stem>.png."""
    mask = seen_mask(view, training)
    save_picture(run.path / "masks" / f"{stem}.png", mask[..., None].expand(-1, -1, 3).float())
    return mask[None]


def measure_over(
    behind: Mapping[str, Float[Tensor, "3"]], image: Render, view: Views
) -> dict[str, dict[str, float | None]]:
    """Metrics of the picture over each colour (inside the photo's mask)."""
    pictures = {name: in_8_bits(image, color) for name, color in behind.items()}
    return {name: picture_metrics(picture, view.photos, view.masks) for name, picture in pictures.items()}


def measure_seen(
    rendered: Tensor, view: Views, visible: Tensor, lpips: metrics.Lpips | None
) -> dict[str, float | None]:
    """Metrics over pixels that training photos show ("seen"; inside the photo's mask), their share, and LPIPS."""
    visible = visible if view.masks is None else visible & view.masks
    seen = picture_metrics(rendered, view.photos, visible)
    return {
        **{f"{key}_seen": value for key, value in seen.items()},
        "lpips": finite_or_none(lpips(rendered, view.photos)) if lpips else None,
        "coverage": finite_or_none(metrics.coverage(visible)),
    }


def picture_metrics(rendered: Tensor, photo: Tensor, mask: Tensor | None) -> dict[str, float | None]:
    """PSNR and SSIM of one picture, inside the mask where there is one."""
    return {
        "psnr": finite_or_none(metrics.psnr(rendered, photo, mask)),
        "ssim": finite_or_none(metrics.ssim(rendered, photo, mask)),
    }


def finite_or_none(value: Tensor) -> float | None:
    """None (null in JSON) for NaN and infinity, which JSON does not have."""
    number = float(value)
    return number if np.isfinite(number) else None


def mean_metrics(rows: list[dict[str, float | None]], keys: tuple[str, ...] = METRICS) -> dict[str, float | None]:
    """Means over views; None where no view has the value."""
    columns = {key: [value for row in rows if (value := row.get(key)) is not None] for key in keys}
    return {key: float(np.mean(column)) if column else None for key, column in columns.items()}


def summary(result: dict) -> str:
    """One line for the terminal."""
    mean, count = result["mean"], len(result["views"])
    if mean["psnr"] is None:
        return f"no held-out views to measure; {plural(result['gaussians'], 'Gaussian')}"
    text = f"held-out views ({count}), over {HEADLINE}: PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.3f}"
    if mean["psnr_seen"] is not None:
        text += f"; seen pixels {mean['psnr_seen']:.2f} dB, {mean['ssim_seen']:.3f}"
    return text + f"; {mean['unseen']:.1%} of pixels in no photo"
