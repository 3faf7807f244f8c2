"""Learning rates for nerfstudio as plain Python floats.

Its own scheduler leaves numpy.float64 in checkpoints, which torch.load of torch 2.6 and later refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig  # pyright: ignore[reportMissingImports]
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


@dataclass
class DecayConfig(SchedulerConfig):
    """Exponential decay."""

    _target: type = field(default_factory=lambda: Decay)
    final_rate: float = 0.1
    """Share of the learning rate that is left at `max_steps`."""
    max_steps: int = 800
    """Steps of the decay; afterwards the rate stays."""


class Decay(Scheduler):
    config: Any

    def get_scheduler(self, optimizer: Optimizer, lr_init: float) -> LRScheduler:
        return LambdaLR(optimizer, partial(decay, self.config.final_rate, self.config.max_steps))


def decay(final_rate: float, max_steps: int, step: int) -> float:
    """Factor on the learning rate at a step."""
    return float(final_rate ** (min(step, max_steps) / max(max_steps, 1)))
