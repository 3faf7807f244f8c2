"""What a job will do, in views and calls of the model, before anything long starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from gs_reg.diffusion.schedule import MAP_PATH

from ..runs.progress import say
from .config import PartsConfig
from .scene import EditScene

BYTES_PER_LABEL = 4 * 16
"""Of a Gaussian and label: spherical harmonics of degree 3."""
BYTES_PER_GAUSSIAN = 4 * 136 + 400
"""Of the label fit, and of the splats with their moments."""


def uses_attention(config: PartsConfig) -> bool:
    """Whether the teacher is, or has among others, the attention of --model."""
    words = config.teacher.replace(":", "+").split("+")
    return "sd3" in (word.strip() for word in words)


def planned_calls(config: PartsConfig, views: int) -> Mapping[str, int]:
    """Calls of the model by purpose; fewer where maps are there already or an anchor is left out."""
    return {"teacher": views * len(MAP_PATH)} if uses_attention(config) and config.labels is None else {}


def announce_plan(config: PartsConfig, scene: EditScene, device: torch.device) -> None:
    calls = planned_calls(config, len(scene.views))
    listed = ", ".join(f"{count:,} {purpose}" for purpose, count in calls.items()) or "none"
    labels = len(config.part_names) + 1
    gigabytes = len(scene.splats) * (BYTES_PER_GAUSSIAN + BYTES_PER_LABEL * labels) / 1e9
    cameras = scene.views.cameras
    gigabytes += len(scene.views) * cameras.width * cameras.height * 4 * (5 + 2 * labels) / 1e9
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name()
    say(f"plan: preset {config.preset}, teacher {config.teacher}; calls of the model: {listed}")
    say(f"  on {where}; about {gigabytes + 0.6:.1f} GB of memory besides the model; into {_into(config)}")


def _into(config: PartsConfig) -> Path | str:
    return config.out or f"{config.home}/<time>"
