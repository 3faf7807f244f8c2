"""Adam for Gaussians: its steps are in units of each Gaussian's own size where the parameter says so."""

from __future__ import annotations

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


def apply_edit(edit: Edit, optimizer: torch.optim.Optimizer, parameter: nn.Parameter, of: str) -> nn.Parameter:
    """The rows and moments of one field of Splats after a structural change, as a new parameter of the optimiser.

    New, as autograd remembers the shape of a parameter for as long as the trainer holds the losses of the last step.
    """
    values = parameter.data if edit.rows is None else parameter.data[edit.rows]
    if of in edit.patch:
        values = edit.patch[of].reshape(values.shape)
    new = nn.Parameter(values.to(parameter.device).contiguous())
    for group in optimizer.param_groups:
        group["params"] = [new if p is parameter else p for p in group["params"]]
    moments = optimizer.state.pop(parameter, {})
    if moments:
        optimizer.state[new] = {key: edit.apply_to_state(value, of) for key, value in moments.items()}
    return new


def set_rows(parameter: nn.Parameter, values: Tensor) -> None:
    """Other values, of any number of rows, in the same parameter: optimisers hold on to it."""
    parameter.grad = None
    parameter.data = values.to(parameter.device).contiguous()
