"""The training loop, as a generator: callers log, show, save or break in their own `for`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gs_reg._callable import make_callable
from gs_reg.densify import Observation
from gs_reg.edit import Axis
from gs_reg.errors import InputError
from gs_reg.optim import OptimConfig
from gs_reg.shot import Shot
from gs_reg.state import Constrained, Posed, State
from gs_reg.terms import Context, scalar_value
from gs_reg.types import Render, Splats, Views


@dataclass(frozen=True)
class FitConfig:
    steps: int = 500
    """Steps of training."""
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"steps: expected at least 0, got {self.steps}")


@dataclass(frozen=True)
class Step:
    """The result of one step."""

    number: int
    values: Mapping[str, float]
    """Weighted value of each term."""
    shot: Shot
    image: Render
    """The render that the loss was computed on: before the update, with dropout; detached."""
    seconds: float
    state: State

    @property
    def loss(self) -> float:
        return sum(self.values.values())

    @property
    def views(self) -> Views:
        return self.shot.views

    @property
    def gaussians(self) -> int:
        """Number of Gaussians in the render, dropped ones included."""
        return self.image.radii.shape[1]

    @property
    def splats(self) -> Splats:
        """The splats after this step, without dropout (at expected opacity); detached.

        Raises:
            RuntimeError: a later step has changed the state already, or the model, of which the next stage goes on.
        """
        if self.state.over:
            raise RuntimeError(f"step {self.number}: its splats are gone, as the next stage trains the same model")
        if self.state.step != self.number + 1:
            raise RuntimeError(f"step {self.number}: its splats are gone, as {self.state.step} steps are made by now")
        with torch.no_grad():
            return self.shot.dropout.with_expected_opacity(self.state.model(self.views)).detach()


def fit(
    state: State,
    shoot: Callable[[int], Shot],
    cost: Callable[[Context], Mapping[str, Tensor]],
    config: FitConfig,
) -> Iterator[Step]:
    """Trains from `state.step` to the last step; changes `state` in place and yields a Step after each update.

    `shoot(step)` gives the views and the render config of a step, `cost(context)` the loss values, whose sum is
    minimised. Both must depend on the step alone: then a run that is resumed from a saved state gives the same bits on
    the CPU.

    Raises:
        FloatingPointError: the loss is not finite; names the step and the terms.
        ValueError: the cost has no values, or one that is no scalar tensor.
    """
    while (step := state.step) < config.steps:
        start = time.perf_counter()
        shot = shoot(step)
        splats = shot.dropout.drop(state.model(shot.views), step)
        posed = _posed(state, shot)
        image = posed.draw(splats, absgrad=state.density is not None and state.density.absgrad)
        values = cost(Context(step, config.steps, state.model, splats, image, posed))
        if not values:
            raise ValueError("cost: expected at least one value, got none: every weight is 0")
        stacked = torch.stack([scalar_value(f"cost: {name}", value) for name, value in values.items()])
        numbers = dict(zip(values, stacked.detach().tolist(), strict=True))  # one sync with the GPU for all terms
        if not all(map(math.isfinite, numbers.values())):
            raise FloatingPointError(f"step {step}: the loss is not finite: {numbers}")
        state.optimizer.zero_grad()
        if state.density is not None:
            state.density.step_pre_backward(image, splats, posed.views.cameras.detach())
        stacked.sum().backward()
        state.optimizer.step(step, config.steps, _visible(state, shot, image))
        if isinstance(state.model, Constrained):
            state.model.constrain()
        if state.density is not None:
            decay = config.optim.decay(step, config.steps)
            splats = state.model.canonical().detach()
            size, frame = _render_size(shot), shot.views.frame
            observation = Observation(step, config.steps, splats, image, size, decay, frame)
            if (edit := state.density.step_post_backward(observation)) is not None:
                state.apply(edit)
        state.step = step + 1  # before the yield: a checkpoint that the caller writes includes this step
        yield Step(step, numbers, shot, image.detach(), time.perf_counter() - start, state)


def _posed(state: State, shot: Shot) -> Shot:
    """The shot with its cameras in the frame of the model's splats."""
    if not isinstance(state.model, Posed):
        return shot
    return replace(shot, views=replace(shot.views, cameras=state.model.cameras(shot.views)))


def _visible(state: State, shot: Shot, image: Render) -> dict[Axis, Tensor]:
    """Masks of the rows to update, for parameter groups that are updated per row."""
    masks: dict[Axis, Tensor] = {}
    if state.optimizer.config.selective:
        masks["gaussians"] = image.visible.any(0)
    if shot.views.frame is not None:
        for group in state.optimizer.groups.values():
            if group.axis == "frames":
                count = len(group.tensors[0])
                if not 0 <= shot.views.frame < count:
                    raise ValueError(
                        f"frame: expected 0 to {count - 1} as {group.name} has rows, got {shot.views.frame}"
                    )
                frames = torch.arange(count, device=group.tensors[0].device)
                masks["frames"] = frames == shot.views.frame
    return masks


def _render_size(shot: Shot) -> tuple[int, int]:
    """Width and height in the pixels of `means2d`: the supersampled size."""
    factor = shot.render.supersample
    return shot.views.cameras.width * factor, shot.views.cameras.height * factor


def shuffled(count: int, step: int, seed: int) -> int:
    """Index of the view for a step: each view once an epoch, in an order that depends on seed and epoch alone."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step // count)
    return int(torch.randperm(count, generator=generator)[step % count])


make_callable(fit)
