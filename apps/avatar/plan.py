"""What a training will do, before anything long starts."""

from __future__ import annotations

from pathlib import Path

import torch

from gs_reg.fields.distill import bumps_of

from ..runs.progress import plural, say
from .config import Config
from .protocols import protocols
from .sources import Source, described

FIELD_SECONDS, VIEW_SECONDS, PIXEL_SECONDS = 5e-6, 1e-6, 3.5e-7
"""Of a step on two cores: a Gaussian in both fields, a Gaussian in a view, and a pixel of a view."""
DISTIL_SECONDS, CLOSED_SECONDS = 0.06, 20.0
"""Of a step of distilling, and of its closed form."""
BYTES_PER_GAUSSIAN = 4_000
"""With moments, the graph, what both fields keep for gradients, and a drawing."""


def announce(config: Config, source: Source, device: torch.device) -> None:
    """Says what was understood and what will be done."""
    for line in described(source):
        say(f"  {line}")
    steps, capture = config.stage_steps, source.capture
    stages = ", ".join(f"{name} {count:,}" for name, count in steps.items() if count)
    if config.method == "rig-bound":
        stages = f"rig-bound {steps['warm-up'] + steps['joint']:,}"
    elif config.coarse:
        closed = bumps_of(source.prior, source.ident, source.codes, config.distil) > 0
        stages = f"distil {'in closed form' if closed else f'{config.distil.steps:,}'}, {stages}"
    first = config.cloud.total
    say(f"plan: preset {config.preset}, steps: {stages}; {plural(config.views, 'camera')} of one frame a step")
    images = sum(len(p.frames) * len(p.cameras) for p in protocols(capture, config.eval_frames).values())
    say(f"  {first:,} Gaussians at first, {max(config.density.cap, first):,} at most; measured on {images:,} images")
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name()
    duration = f", about {minutes(config, source):.0f} minutes" if device.type == "cpu" else ""
    memory = max(config.density.cap, first) * BYTES_PER_GAUSSIAN / 1e9 + 1.0
    say(f"  on {where}{duration}; about {memory:.1f} GB of memory; into {_into(config)}")


def minutes(config: Config, source: Source) -> float:
    """Rough, of two cores that nothing else uses."""
    cameras = source.capture.cameras
    count = max(config.density.cap, config.cloud.total)
    view = VIEW_SECONDS * count + PIXEL_SECONDS * cameras.width * cameras.height
    fields = FIELD_SECONDS * count if config.method == "fields" else 0.0
    training = sum(config.stage_steps.values()) * (fields + config.views * view)
    distil = 0.0
    if config.coarse and config.method == "fields":
        closed = bumps_of(source.prior, source.ident, source.codes, config.distil) > 0
        distil = CLOSED_SECONDS if closed else DISTIL_SECONDS * config.distil.steps
    images = sum(len(p.frames) * len(p.cameras) for p in protocols(source.capture, config.eval_frames).values())
    return (training + distil + images * (fields / 3 + view)) / 60 + 0.2


def _into(config: Config) -> Path | str:
    return config.out or f"{config.home}/<time>"
