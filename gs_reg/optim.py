"""Adam over named groups, with rates that depend on the step alone, so that resuming needs no history."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gs_reg import _ops


@dataclass(frozen=True)
class OptimConfig:
    final_rate: float = 0.1
    """Learning rates fall exponentially to this share of their start by the last step."""
    warmup: int = 0
    """Steps over which the rates rise linearly."""
    selective: bool = False
    """Gaussians that a step does not draw rest, momentum included; for models with a row a Gaussian."""


def make_optimizer(groups: list[dict], selective: bool = False) -> torch.optim.Optimizer:
    """Adam; groups may have a decoupled `weight_decay`, unless it is selective."""
    for group in groups:
        group["start_lr"] = group["lr"]
    if selective:
        return SelectiveAdam(groups)
    return torch.optim.AdamW(groups, eps=1e-15, weight_decay=0.0, fused=True)


class SelectiveAdam(torch.optim.Optimizer):
    """Adam for the rows that were seen, each corrected by the number of its own steps."""

    def __init__(self, groups: list[dict]):
        """
        Raises:
            ValueError: a group has weight decay.
        """
        super().__init__(groups, {"betas": (0.9, 0.999), "eps": 1e-15})
        self.seen: Tensor | None = None
        """[N] (bool), set before each step."""
        for group in self.param_groups:
            if group.get("weight_decay", 0.0):
                raise ValueError(f"selective: {group['name']} has weight decay, which would move rows that rest")

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """
        Raises:
            ValueError: a parameter has another number of rows than `seen`.
        """
        seen = self.seen
        for group in self.param_groups:
            (values,) = group["params"]
            if values.grad is None or seen is None:
                continue
            if len(values) != len(seen):
                raise ValueError(f"selective: {group['name']} has {len(values)} rows, and {len(seen)} were drawn")
            state = self.state[values]
            if not state:
                state |= {"exp_avg": torch.zeros_like(values), "exp_avg_sq": torch.zeros_like(values)}
                state["row_steps"] = torch.zeros_like(seen, dtype=torch.int32)
            state["row_steps"] += seen
            if not _ops.is_native(values, values.grad):
                kind = f"{values.dtype} on {values.device}"
                raise ValueError(f"selective: no kernel moves {group['name']}, {kind}; `gs-reg doctor` says why")
            rates = {"lr": group["lr"], "betas": group["betas"], "eps": group["eps"]}
            moments = state["exp_avg"], state["exp_avg_sq"]
            _ops.adam(values, values.grad, *moments, row_steps=state["row_steps"], visible=seen, **rates)


def set_rates(optimizer: torch.optim.Optimizer, config: OptimConfig, step: int, steps: int) -> None:
    """Rates of this step: start_lr * final_rate^(step / steps), times the warm-up.

    Groups with `half_cycles` go up and down instead, and groups with `from` rest until that share of the run.
    """
    progress = step / max(steps, 1)
    share = config.final_rate**progress
    if config.warmup:
        share *= min(1.0, (step + 1) / config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["start_lr"] * (_cycle(progress, group) if "half_cycles" in group else share)
        if progress < group.get("from", 0.0):
            group["lr"] = 0.0


def _cycle(progress: float, group: dict) -> float:
    """Triangles between the group's `lowest` share and 1, each half as high as the one before (Smith 2017)."""
    turns = progress * group["half_cycles"]
    number = math.floor(turns / 2)
    height = (1 - abs(turns - 2 * number - 1)) * 0.5**number
    return group["lowest"] + (1 - group["lowest"]) * height


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
