"""What a reconstruction will do, and about how long and how much memory it will take, before anything long starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gs_reg.data_tools.dataset import Dataset

from ..runs.progress import plural, say
from .config import Config
from .initial_model import PIXELS_PER_GAUSSIAN
from .stages import StagePlan, plan_stages

CORES = 2
"""Of the machine that the rates were measured on (docs/results.md); times go down with the number of cores."""
SECONDS_PER_PIXEL, SECONDS_PER_GAUSSIAN = 0.4e-6, 0.06e-6
"""Of a step there: pair of 741x500 with 208,000 Gaussians 160 ms, 504x378 with 572,000 110 ms."""
SECONDS_PER_MATCHED_PIXEL = 18e-6
"""Of the depth search there: for every pixel of a photo and every photo that it is matched with, with 256 planes."""
SECONDS_AT_LEAST = 15.0
"""Loading, evaluation, video and report of a small run."""
BASE_GB = 0.9
"""Of Python, torch and the libraries."""
BYTES_PER_GAUSSIAN, BYTES_PER_PIXEL, BYTES_PER_PLANE_PIXEL = 1000, 400, 4
WITHIN = 2
"""An estimate is off by up to this factor, for what the scene shows and for other work on the machine."""


@dataclass(frozen=True)
class Forecast:
    gaussians: int
    """Before what fills unseen regions."""
    minutes: float | None
    """None where nothing was measured: on a GPU."""
    gigabytes: float


def forecast(config: Config, dataset: Dataset, device: torch.device, threads: int) -> Forecast:
    """From stored rates alone; nothing is run."""
    sizes = [f.camera.width * f.camera.height for f in dataset.frames if f.name in dataset.train]
    pixels, gaussians = sum(sizes), _gaussians(config, sum(sizes))
    searched = min(sum(sizes) / len(sizes) * _finer(config, dataset) ** 2, config.depth.sweep_pixels)
    matched = 0.0 if config.start == "random" else len(sizes) * searched * min(config.depth.sources, len(sizes) - 1)
    seconds = SECONDS_PER_MATCHED_PIXEL * matched * config.depth.max_planes / 256
    for plan in plan_stages(config):
        drawn = _supersampled(plan) * pixels / len(sizes)
        seconds += plan.train.steps * (SECONDS_PER_PIXEL * drawn + SECONDS_PER_GAUSSIAN * gaussians)
    search = config.depth.threads * searched * config.depth.max_planes * BYTES_PER_PLANE_PIXEL
    training = gaussians * BYTES_PER_GAUSSIAN + pixels * BYTES_PER_PIXEL
    minutes = (SECONDS_AT_LEAST + seconds * CORES / max(threads, 1)) / 60
    memory = BASE_GB + max(search if matched else 0, training) / 1e9
    return Forecast(gaussians, minutes if device.type == "cpu" else None, memory)


def announce_plan(config: Config, dataset: Dataset, device: torch.device) -> None:
    """Prints one block: stages and steps, what draws, where it goes, minutes and memory."""
    threads = torch.get_num_threads()
    ahead = forecast(config, dataset, device, threads)
    stages = ", then ".join(_words(p) for p in plan_stages(config) if p.train.steps > 0)
    backends = {p.train.render.backend for p in plan_stages(config) if p.train.steps > 0}
    drawn = " and ".join(sorted("native" if b == "auto" and device.type == "cpu" else b for b in backends))
    where = f"the CPU ({plural(threads, 'thread')})" if device.type == "cpu" else torch.cuda.get_device_name()
    parent = config.out or f"{config.home}/<time>"
    say(
        f"plan: preset {config.preset}, {_count(config, ahead)} Gaussians, "
        + (f"{stages}; on {where}, drawn by {drawn}" if stages else f"no steps of training; on {where}")
    )
    if ahead.minutes is None:
        minutes = "minutes depend on the GPU and were not estimated"
    else:
        minutes = f"about {_minutes(ahead.minutes)} (up to {WITHIN} times that beside other work)"
    say(f"  {minutes}; about {ahead.gigabytes:.1f} GB of memory; into {parent}")


def _words(plan: StagePlan) -> str:
    where = "on the rays of the photos" if plan.name == "rays" else "free of the rays"
    return f"{plural(plan.train.steps, 'step')} {where}"


def _count(config: Config, ahead: Forecast) -> str:
    """The number of Gaussians; what --model.max-gaussians leaves depends on the photos, and is fewer."""
    at_most = config.start == "depth" and ahead.gaussians == config.model.max_gaussians
    return f"{'at most' if at_most else 'about'} {_rounded(ahead.gaussians):,}"


def _gaussians(config: Config, pixels: int) -> int:
    if config.start == "random":
        return pixels // PIXELS_PER_GAUSSIAN
    return min(pixels // config.model.stride**2, config.model.max_gaussians)


def _finer(config: Config, dataset: Dataset) -> float:
    """How many times as large as in use the photos are in which depth is measured."""
    if config.depth.source == "files":
        return 1.0
    return max(1.0, min(config.depth.finer, dataset.downscale.factor / dataset.downscale.finest))


def _supersampled(plan: StagePlan) -> float:
    """Mean number of pixels drawn for one of the photo."""
    most, fixed = plan.train.multisample, plan.train.render.supersample**2
    if most <= 1:
        return fixed
    mean = sum(factor**2 for factor in range(1, most + 1)) / most
    return fixed * plan.train.multisample_from + mean * (1 - plan.train.multisample_from)


def _rounded(count: int) -> int:
    """To two digits."""
    return int(float(f"{count:.1e}"))


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
