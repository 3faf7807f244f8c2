"""--steps and --backend, which hold for all stages of a reconstruction, as the settings of each stage."""

from __future__ import annotations

from dataclasses import replace

import torch

from gs_reg.errors import InputError, MissingPart
from gs_reg.render import Backend

from .config import Config
from .flags import TrainConfig
from .stages import plan_stages


def with_whole_run(config: Config) -> Config:
    """The config with --steps and --backend written into its stages, and these two unset.

    0 steps leave the initial Gaussians untrained, as 0 steps of a stage do.

    Raises:
        InputError: fewer steps than there are stages, but not 0, or steps for no stage at all.
    """
    if config.steps is not None:
        config = _with_steps(config, config.steps)
    if config.backend is not None:
        config = _with_backend(config, config.backend)
    return replace(config, steps=None, backend=None)


def total_steps(config: Config) -> int:
    """Steps of all stages."""
    return sum(plan.train.steps for plan in plan_stages(config))


def check_backends(config: Config, device: torch.device) -> None:
    """Raises MissingPart where a stage is to be drawn with what is not there; else training would, minutes later."""
    for plan in plan_stages(config):
        if plan.train.steps > 0:
            _check_backend(plan.train.render.backend, device)


def _check_backend(name: str, device: torch.device) -> None:
    if name == "gsplat":
        from gs_reg.render.gsplat import missing

        if device.type != "cuda":
            raise MissingPart(f"backend gsplat: draws on CUDA alone, and this run is on the {device.type.upper()}")
        if problem := missing():
            raise MissingPart(f"backend gsplat: {problem[0]}; {problem[1]}")
    if name == "native" and device.type == "cuda":
        from gs_reg._library import cuda_library

        try:
            cuda_library()
        except RuntimeError as error:
            raise MissingPart(f"backend native: {error}") from None


def _with_steps(config: Config, total: int) -> Config:
    stages = {plan.name: plan.train.steps for plan in plan_stages(replace(config, stop_after="report"))}
    active = {name: steps for name, steps in stages.items() if steps > 0}
    if total != 0 and not active:
        raise InputError("--steps: these settings have no stage with steps: give --free.train.steps instead")
    if total != 0 and total < len(active):
        least = f"{len(active)} or more, as there are stages ({', '.join(active)})"
        raise InputError(f"--steps: expected 0 (no training) or {least}, got {total}")
    split = stages | (shares(total, active) if total else dict.fromkeys(active, 0))
    train, free = config.train, config.free
    return replace(
        config,
        train=replace(train, steps=split.get("rays", train.steps)),
        free=replace(free, train=replace(free.train, steps=split.get("free", free.train.steps))),
    )


def shares(total: int, parts: dict[str, int]) -> dict[str, int]:
    """`total` in the proportions of the parts, by largest remainders, and at least 1 each."""
    whole = sum(parts.values())
    out = {name: total * part // whole for name, part in parts.items()}
    by_remainder = sorted(parts, key=lambda name: -(total * parts[name] % whole))
    for name in by_remainder[: total - sum(out.values())]:
        out[name] += 1
    for name in parts:
        if out[name] == 0:
            out[max(out, key=lambda other: out[other])] -= 1
            out[name] = 1
    return out


def _with_backend(config: Config, backend: Backend) -> Config:
    def drawn(train: TrainConfig, stage: str) -> TrainConfig:
        return replace(train, render=replace(train.render, backend=backend)) if stage in active else train

    active = {plan.name for plan in plan_stages(replace(config, stop_after="report")) if plan.train.steps > 0}
    free = replace(config.free, train=drawn(config.free.train, "free"))
    return replace(config, train=drawn(config.train, "rays"), free=free)
