"""What a job will do, in views and calls of the model, before anything long starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from gs_reg.diffusion.judge import U_LEVELS
from gs_reg.diffusion.loading import folder_of, look_into
from gs_reg.diffusion.memory import Use, choose
from gs_reg.diffusion.schedule import MAP_PATH

from ..runs.progress import say
from .config import Config, PartsConfig
from .presets import step_counts
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
    """Calls of the model by purpose; fewer where maps are there already or fewer anchors are found."""
    calls = {"teacher": views * len(MAP_PATH)} if uses_attention(config) and config.labels is None else {}
    if not isinstance(config, Config) or not config.edit:
        return calls
    if config.editor == "slamp":
        # an inversion without a prompt, and a guided generation: from the second anchor on in fewer steps
        tries = config.anchors.candidates
        calls["slamp"] = 3 * config.slamp.steps * (config.anchors.count + tries - 1)
        if tries > 1:
            calls["judge"] = 2 * len(U_LEVELS) * tries
    if config.guidance.weight > 0:
        calls["sds"] = 3 * sum(step_counts(config.steps, config.coarse, config.fine))
    return calls


def check_memory(config: PartsConfig, device: torch.device, size: int) -> None:
    """Raises InputError where the model does not fit into --vram-gb, or into what is free; says what to lower."""
    if config.model is not None:
        dtype = torch.float32 if device.type == "cpu" else torch.float16
        contents = look_into(folder_of(config.model, config.allow_download))
        choose(contents, dtype, device, config.vram_gb, Use(size))


def announce_plan(config: PartsConfig, scene: EditScene, device: torch.device) -> None:
    """Says what will be done.

    Raises:
        InputError: too little memory for the model.
    """
    check_memory(config, device, max(scene.views.cameras.width, scene.views.cameras.height))
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
