"""Adam over named groups, with a rate that decays as a function of the step alone, so that resuming needs no history."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class OptimConfig:
    final_rate: float = 0.1
    """Learning rates fall exponentially to this share of their start by the last step."""
    warmup: int = 0
    """Steps over which the rates rise linearly."""


def make_optimizer(groups: list[dict]) -> torch.optim.Adam:
    for group in groups:
        group["start_lr"] = group["lr"]
    return torch.optim.Adam(groups, eps=1e-15, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, steps: int) -> None:
    """Rates of this step: start_lr * final_rate^(step / steps), times the warm-up."""
    share = config.final_rate ** (step / max(steps, 1))
    if config.warmup:
        share *= min(1.0, (step + 1) / config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["start_lr"] * share
