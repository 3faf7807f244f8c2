"""What a user's flags are checked for before anything is read."""

from __future__ import annotations

from gs_reg.errors import InputError, did_you_mean
from gs_reg.fields.detail import HEADS
from gs_reg.metrics import check_lpips

from .config import Config


def check_flags(config: Config) -> None:
    """Raises InputError where flags exclude one another, or leave nothing to do."""
    if not config.data:
        raise InputError("no capture named: expected its folder; `gs-reg avatar synth FOLDER` makes one")
    for name in config.heads:
        if name not in HEADS:
            raise InputError(f"--heads {name}: expected some of {', '.join(HEADS)}{did_you_mean(name, HEADS)}")
    if config.method == "fields" and not config.coarse and not config.heads:
        raise InputError("--no-coarse without --heads: nothing would move the Gaussians; drop one of the two")
    if config.method == "rig-bound" and config.screen:
        raise InputError("--screen with --method rig-bound: the rival has no network in screen space; use --screen 0")
    if config.views < 1:
        raise InputError(f"--views: expected at least 1 camera a step, got {config.views}")
    if config.clusters < 1:
        raise InputError(f"--clusters: expected at least 1, got {config.clusters}")
    if config.probes < 1:
        raise InputError(f"--probes: expected at least 1, got {config.probes}")
    if config.eval_frames < 1:
        raise InputError(f"--eval-frames: expected at least 1, got {config.eval_frames}")
    if sum(config.stage_steps.values()) < 1:
        raise InputError("--steps: expected at least 1 step of training")
    check_lpips(config.lpips)
