"""Adam over typed groups of parameters: Gaussians, values of frames and networks in one optimiser.

Rates depend on the step alone, so that resuming needs no history of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from gs_reg import _ops
from gs_reg.edit import Axis, Edit

Schedule = Callable[[float], float]
"""From the share of the run that is done to the share of a group's rate."""


@dataclass(frozen=True)
class ParameterGroup:
    """Tensors that are learned alike."""

    name: str
    tensors: Sequence[nn.Parameter]
    lr: float
    schedule: Schedule | None = None
    """None = the schedule of OptimConfig."""
    axis: Axis | None = None
    """What the rows of the tensors stand for; None = nothing, as in a network. An Edit moves the groups of its axis."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW)."""
    start: float = 0.0
    """Share of the run before which the group is not updated."""


@dataclass(frozen=True)
class OptimConfig:
    final_rate: float = 0.1
    """Learning rates fall exponentially to this share of their start by the last step."""
    warmup: int = 0
    """Steps over which the rates rise linearly."""
    selective: bool = False
    """Gaussians that a step does not draw are left as they are, momentum included (as gsplat's SelectiveAdam)."""

    def decay(self, step: int, steps: int) -> float:
        """Share of its rate that a group without a schedule of its own has at a step."""
        share = self.final_rate ** (step / max(steps, 1))
        return share * min(1.0, (step + 1) / self.warmup) if self.warmup else share


@dataclass(frozen=True)
class Triangles:
    """A schedule of triangles between `lowest` and 1, each half as high as the one before (Smith 2017, triangular2)."""

    half_cycles: float
    """How often the rate rises or falls in a run."""
    lowest: float
    """Lowest share of the rate."""

    def __call__(self, progress: float) -> float:
        turns = progress * self.half_cycles
        number = math.floor(turns / 2)
        height = (1 - abs(turns - 2 * number - 1)) * 0.5**number
        return self.lowest + (1 - self.lowest) * height


BETAS, EPS = (0.9, 0.999), 1e-15


class Optimizer:
    """Adam for all groups. Groups of frames, and of Gaussians where the config is selective, are updated row by row:
    each row by the number of its own steps, and not at all in steps that did not see it."""

    def __init__(self, groups: Sequence[ParameterGroup], config: OptimConfig = OptimConfig()):
        """
        Raises:
            ValueError: two groups of one name, or weight decay in a group that is updated by rows.
        """
        self.config = config
        self.groups = {group.name: group for group in groups}
        if len(self.groups) != len(groups):
            raise ValueError(f"groups: expected a name each, got {', '.join(group.name for group in groups)}")
        for group in groups:
            if self._by_rows(group) and group.weight_decay:
                raise ValueError(f"selective: {group.name} has weight decay, which would change rows not seen")
        self._rows: dict[nn.Parameter, dict[str, Tensor]] = {}
        """Moments and steps of what is updated by rows."""
        whole = [group for group in groups if not self._by_rows(group)]
        # torch refuses an optimiser of nothing
        self._dense = None if not whole else torch.optim.AdamW(_torch_groups(whole), betas=BETAS, eps=EPS, fused=True)

    def _by_rows(self, group: ParameterGroup) -> bool:
        return group.axis == "frames" or (group.axis == "gaussians" and self.config.selective)

    def zero_grad(self) -> None:
        for group in self.groups.values():
            for values in group.tensors:
                values.grad = None

    def rate(self, group: ParameterGroup, step: int, steps: int) -> float:
        """Learning rate of a group at a step."""
        progress = step / max(steps, 1)
        if progress < group.start:
            return 0.0
        return group.lr * (group.schedule(progress) if group.schedule else self.config.decay(step, steps))

    def step(self, step: int, steps: int, visible: Mapping[Axis, Bool[Tensor, "_"]] | None = None) -> None:
        """One update by the gradients that are there, at the rates of `step` of `steps`.

        `visible` names, by axis, the rows that the step saw; an axis that is not in it was seen whole. Only groups that
        are updated by rows look at it.

        Raises:
            ValueError: a tensor has another number of rows than `visible`.
        """
        visible = visible or {}
        if self._dense is not None:
            for torch_group in self._dense.param_groups:
                torch_group["lr"] = self.rate(self.groups[torch_group["name"]], step, steps)
            self._dense.step()
        for group in self.groups.values():
            if self._by_rows(group):
                for values in group.tensors:
                    rows = visible.get(group.axis) if group.axis else None
                    self._step_rows(group, values, self.rate(group, step, steps), rows)

    @torch.no_grad()
    def _step_rows(self, group: ParameterGroup, values: nn.Parameter, lr: float, rows: Tensor | None) -> None:
        if values.grad is None:
            return
        if rows is None:
            rows = torch.ones(len(values), dtype=torch.bool, device=values.device)
        if len(values) != len(rows):
            raise ValueError(f"selective: {group.name} has {len(values)} rows, and {len(rows)} were drawn")
        state = self._rows.setdefault(values, {})
        if not state:
            state |= {"exp_avg": torch.zeros_like(values), "exp_avg_sq": torch.zeros_like(values)}
            state["row_steps"] = torch.zeros_like(rows, dtype=torch.int32)
        state["row_steps"] += rows
        if _ops.is_native(values, values.grad):
            moments, steps = (state["exp_avg"], state["exp_avg_sq"]), state["row_steps"]
            _ops.adam(values, values.grad, *moments, row_steps=steps, visible=rows, lr=lr, betas=BETAS, eps=EPS)
        else:
            _adam_in_torch(values, state, rows.nonzero()[:, 0], lr)

    def _state_of(self, group: ParameterGroup) -> MutableMapping[Any, dict[str, Tensor]]:
        if self._by_rows(group):
            return self._rows
        assert self._dense is not None
        return self._dense.state

    def tensors(self) -> dict[str, list[dict[str, Tensor]]]:
        """The state by group: a mapping for each of its tensors."""
        return {
            name: [dict(self._state_of(group).get(values, {})) for values in group.tensors]
            for name, group in self.groups.items()
        }

    def load(self, tensors: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> None:
        """The inverse of `tensors`; groups that are not in it start anew."""
        for name, states in tensors.items():
            group = self.groups[name]
            for values, state in zip(group.tensors, states, strict=True):
                if state:
                    self._state_of(group)[values] = {key: value.to(values.device) for key, value in state.items()}

    def follow(self, edit: Edit, groups: Sequence[ParameterGroup]) -> None:
        """Takes the groups as they are behind an edit, and moves the state of those of its axis with the rows."""
        for group in groups:
            state, before = self._state_of(group), self.groups[group.name]
            for old, new in zip(before.tensors, group.tensors, strict=True):
                moments = state.pop(old, {})
                if moments and group.axis == edit.axis:
                    moments = {key: edit.moved(value, group.name) for key, value in moments.items()}
                if moments:
                    state[new] = moments
            self.groups[group.name] = group
        if self._dense is not None:
            for torch_group in self._dense.param_groups:
                torch_group["params"] = list(self.groups[torch_group["name"]].tensors)


def _adam_in_torch(values: nn.Parameter, state: dict[str, Tensor], rows: Int[Tensor, "V"], lr: float) -> None:
    """One step of some rows where our kernels are not used: on a GPU without them, and in half precision."""
    assert values.grad is not None
    (beta1, beta2), column = BETAS, (-1, *[1] * (values.ndim - 1))
    gradient, steps = values.grad[rows], state["row_steps"][rows].double()
    mean = beta1 * state["exp_avg"][rows] + (1 - beta1) * gradient
    square = beta2 * state["exp_avg_sq"][rows] + (1 - beta2) * gradient.square()
    correction1, correction2 = ((1 - beta**steps).to(values).view(column) for beta in (beta1, beta2))
    values[rows] -= lr / correction1 * mean / ((square / correction2).sqrt() + EPS)
    state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square


def _torch_groups(groups: Sequence[ParameterGroup]) -> list[dict]:
    return [
        {"name": group.name, "params": list(group.tensors), "lr": group.lr, "weight_decay": group.weight_decay}
        for group in groups
    ]
