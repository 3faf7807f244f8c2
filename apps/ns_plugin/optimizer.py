"""Adam for Gaussians: its steps are in units of each Gaussian's own size where the parameter says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from nerfstudio.engine.optimizers import OptimizerConfig  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from gs_reg.edit import Edit
from gs_reg.optim import EPS

UNITS = "gs_reg_units"
"""Attribute of a parameter: the length of a row's unit, [N, 1]. Adam does not see the scale of gradients, so the rate
of means must be in units of the Gaussian's size, as in gs_reg.models.free."""


@dataclass
class RowAdamConfig(OptimizerConfig):
    _target: type = field(default_factory=lambda: RowAdam)
    eps: float = EPS


class RowAdam(torch.optim.Adam):
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        scaled = [p for group in self.param_groups for p in group["params"] if getattr(p, UNITS, None) is not None]
        before = [p.clone() for p in scaled]
        value = super().step(closure)
        for p, old in zip(scaled, before, strict=True):
            p.copy_(torch.addcmul(old, getattr(p, UNITS), p - old))
        return value


def apply_edit(edit: Edit, optimizers: Mapping[str, torch.optim.Optimizer], names: Mapping[str, str]) -> None:
    """Gathers the moments of Gaussians as the edit does their rows; parameters keep their identity and `data` changes.

    `names` are the fields of Splats by name of the optimiser.
    """
    for name, field_name in names.items():
        for group in optimizers[name].param_groups:
            for p in group["params"]:
                state = optimizers[name].state[p]
                for key, value in state.items():
                    state[key] = edit.apply_to_state(value, field_name)


def set_rows(parameter: nn.Parameter, values: Tensor) -> None:
    """Other values, of any number of rows, in the same parameter: optimisers hold on to it."""
    parameter.grad = None
    parameter.data = values.to(parameter.device).contiguous()
