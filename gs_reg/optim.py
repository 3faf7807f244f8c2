"""Adam over named groups, with rates that depend on the step alone, so that resuming needs no history."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by group name, such as `residual.exp_avg`."""
    out = {}
    for group in optimizer.param_groups:
        for key, value in optimizer.state.get(group["params"][0], {}).items():
            out[f"{group['name']}.{key}"] = torch.as_tensor(value)
    return out


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of optimizer_tensors; groups without saved state start afresh."""
    for group in optimizer.param_groups:
        prefix = group["name"] + "."
        state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if state:
            optimizer.state[group["params"][0]] = state
