"""One Adam for all parameter groups: Gaussians, per-frame values and networks.

Learning rates are functions of the step alone, so resuming to the same bits needs no scheduler state.
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
from gs_reg.errors import InputError

Schedule = Callable[[float], float]
"""Factor on a group's learning rate, as a function of progress (0 at the first step, 1 after the last)."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with the same learning rate and schedule."""

    name: str
    tensors: Sequence[nn.Parameter]
    lr: float
    schedule: Schedule | None = None
    """None = `OptimConfig.decay`."""
    axis: Axis | None = None
    """What the rows of the tensors stand for; None for networks. An Edit changes the rows of groups of its own axis."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW)."""
    start: float = 0.0
    """Share of the run before which the learning rate is 0."""


@dataclass(frozen=True)
class OptimConfig:
    final_rate: float = 0.1
    """Learning rates decay exponentially to this share of their initial value by the last step."""
    warmup: int = 0
    """Steps of linear warm-up; 0 = none."""
    selective: bool = False
    """Update only the Gaussians that are visible in a step, moments included (as gsplat's SelectiveAdam)."""

    def __post_init__(self) -> None:
        if not 0 < self.final_rate < math.inf:
            raise InputError(f"final_rate: expected a finite number above 0, got {self.final_rate}")
        if self.warmup < 0:
            raise InputError(f"warmup: expected at least 0 steps, got {self.warmup}")

    def decay(self, step: int, steps: int) -> float:
        """Factor on the learning rate of groups without a schedule of their own."""
        factor = self.final_rate ** (step / max(steps, 1))
        return factor * min(1.0, (step + 1) / self.warmup) if self.warmup else factor


@dataclass(frozen=True)
class TriangularSchedule:
    """Cyclical learning rate between `lowest` and 1; each cycle has half the peak of the one before.

    Smith 2017, "triangular2"; torch's CyclicLR has it too, but keeps a state of its own.
    """

    half_cycles: float
    """Number of rises and falls in a run."""
    lowest: float
    """Factor at the bottom of every cycle."""

    def __call__(self, progress: float) -> float:
        position = progress * self.half_cycles
        cycle = math.floor(position / 2)
        height = (1 - abs(position - 2 * cycle - 1)) * 0.5**cycle
        return self.lowest + (1 - self.lowest) * height


BETAS, EPS = (0.9, 0.999), 1e-15


class Optimizer:
    """Adam for all groups.

    Frame groups, and Gaussian groups where the config is selective, are updated per row: rows that are not visible in a
    step stay as they are, and each row counts its own steps for Adam's bias correction. All other groups are dense and
    use torch's fused AdamW.
    """

    def __init__(self, groups: Sequence[ParameterGroup], config: OptimConfig = OptimConfig()):
        """
        Raises:
            ValueError: two groups of one name, a parameter in two groups, a rate or weight decay that is negative or
                not finite, or weight decay in a group that is updated per row.
        """
        self.config = config
        for group in groups:
            if not isinstance(group.tensors, Sequence):  # a generator could be read once alone
                raise ValueError(f"{group.name}: tensors: expected a list, as list(network.parameters())")
            for what, value in (("lr", group.lr), ("weight_decay", group.weight_decay)):
                if not 0 <= value < math.inf:
                    raise ValueError(f"{group.name}: {what}: expected a finite number of at least 0, got {value}")
        self.groups = {group.name: group for group in groups}
        if len(self.groups) != len(groups):
            raise ValueError(f"groups: expected a name each, got {', '.join(group.name for group in groups)}")
        owners: dict[nn.Parameter, str] = {}
        for group in groups:
            for values in group.tensors:
                if values in owners:
                    raise ValueError(
                        f"groups: one parameter is in {owners[values]} and in {group.name}: it would move twice"
                    )
                owners[values] = group.name
        for group in groups:
            if self._is_per_row(group) and group.weight_decay:
                raise ValueError(f"selective: {group.name} has weight decay, which would change rows not seen")
        self._rows: dict[nn.Parameter, dict[str, Tensor]] = {}
        """Moments and step counts of the parameters that are updated per row."""
        dense = [group for group in groups if not self._is_per_row(group)]
        # torch.optim refuses an empty list of parameters
        self._dense = None if not dense else torch.optim.AdamW(_torch_groups(dense), betas=BETAS, eps=EPS, fused=True)

    def _is_per_row(self, group: ParameterGroup) -> bool:
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
        """One update, at the learning rates of `step` of `steps`; parameters without a gradient are skipped.

        `visible` masks, by axis, the rows to update in groups that are updated per row; without a mask all rows are.

        Raises:
            ValueError: a tensor has another number of rows than `visible`.
        """
        visible = visible or {}
        if self._dense is not None:
            for torch_group in self._dense.param_groups:
                torch_group["lr"] = self.rate(self.groups[torch_group["name"]], step, steps)
            self._dense.step()
        for group in self.groups.values():
            if self._is_per_row(group):
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
        if self._is_per_row(group):
            return self._rows
        assert self._dense is not None
        return self._dense.state

    def tensors(self) -> dict[str, list[dict[str, Tensor]]]:
        """The optimiser state by name of group, one mapping for each parameter of it."""
        return {
            name: [dict(self._state_of(group).get(values, {})) for values in group.tensors]
            for name, group in self.groups.items()
        }

    def load(self, tensors: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> None:
        """Restores what `tensors` returned; groups that are missing in it start with zero moments.

        Raises:
            ValueError: a group that is not there, or has other tensors or shapes.
        """
        for name, states in tensors.items():
            group = self.groups.get(name)
            if group is None or len(group.tensors) != len(states):
                raise ValueError(f"optimizer: the state of group {name!r} does not fit the model's parameters")
            for i, (values, state) in enumerate(zip(group.tensors, states, strict=True)):
                if state:
                    self._check_state(state, group, values, f"optimizer: {name}, tensor {i}")
                    self._state_of(group)[values] = {key: value.to(values.device) for key, value in state.items()}

    def _check_state(self, state: Mapping[str, Tensor], group: ParameterGroup, values: Tensor, where: str) -> None:
        """Before a step: moments of another size would be read and written beyond their end.

        Raises:
            ValueError: a moment or count is missing, unknown, or of another shape or type than the parameter asks for.
        """
        counts = {"row_steps": (values.shape[:1], torch.int32)} if self._is_per_row(group) else {"step": ((), None)}
        moments = {name: (values.shape, values.dtype) for name in ("exp_avg", "exp_avg_sq")}
        wanted = moments | counts
        if state.keys() != wanted.keys():
            raise ValueError(f"{where}: expected {', '.join(wanted)}, got {', '.join(map(str, state)) or 'nothing'}")
        for key, (shape, dtype) in wanted.items():
            value = state[key]
            if not isinstance(value, Tensor) or value.shape != shape or value.dtype != (dtype or torch.float32):
                got = f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"{where}: {key}: expected {list(shape)} {dtype or torch.float32}, got {got}")

    def apply_edit(self, edit: Edit, groups: Sequence[ParameterGroup]) -> None:
        """Replaces the parameters by those of `groups`, as they are after an edit, and gathers moments like their rows.

        Groups of another axis than the edit's keep their moments unchanged.
        """
        for group in groups:
            state, before = self._state_of(group), self.groups[group.name]
            for old, new in zip(before.tensors, group.tensors, strict=True):
                moments = state.pop(old, {})
                if moments and group.axis == edit.axis:
                    moments = {key: edit.apply_to_state(value, group.name) for key, value in moments.items()}
                if moments and moments["exp_avg"].shape != new.shape:
                    got, want = list(moments["exp_avg"].shape), list(new.shape)
                    raise ValueError(f"edit: {group.name} has {want} behind it, and moments {got}")
                if moments:
                    state[new] = moments
            self.groups[group.name] = group
        if self._dense is not None:
            for torch_group in self._dense.param_groups:
                torch_group["params"] = list(self.groups[torch_group["name"]].tensors)


def _adam_in_torch(values: nn.Parameter, state: dict[str, Tensor], rows: Int[Tensor, "V"], lr: float) -> None:
    """One Adam step of some rows in plain torch: on a GPU without our kernels, and in half precision."""
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
