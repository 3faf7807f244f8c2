"""The training loop: a generator. Callers log, show, save or break in their own `for`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from gs_reg.densify import Densifier
from gs_reg.dropout import dropped
from gs_reg.optim import OptimConfig, SelectiveAdam, set_rates
from gs_reg.render import RenderConfig, render
from gs_reg.terms import Context, evaluate
from gs_reg.types import Render, Splats, Views


@runtime_checkable
class Model(Protocol):
    """A function of the views with parameters."""

    def __call__(self, views: Views) -> Splats: ...
    def parameter_groups(self) -> list[dict]: ...
    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class FitConfig:
    steps: int = 500
    """Steps of training; one view each."""
    render: RenderConfig = field(default_factory=RenderConfig)
    multisample: int = 1
    """Each step draws at a random whole multiple of the size up to this one, and averages down; 1 = never."""
    multisample_from: float = 0.4
    """Share of the run after which it does so."""
    sh_from: tuple[float, ...] = ()
    """Shares of the run after which colour of degree 1, 2 and 3 is drawn; degrees without one are from the start."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    dropout: float = 0.0
    """Share of the Gaussians that each step leaves out at random; below 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a share from 0 to below 1, got {self.dropout}")


@dataclass(frozen=True)
class Step:
    """What one step was; `splats` and `image` carry no gradient history."""

    number: int
    values: Mapping[str, float]
    splats: Splats
    image: Render
    views: Views
    seconds: float

    @property
    def loss(self) -> float:
        return sum(self.values.values())


def fit(
    model: Model,
    batch: Callable[[int], Views],
    terms: Any,
    config: FitConfig,
    optimizer: torch.optim.Optimizer,
    *,
    first: int = 0,
    seed: int = 0,
    backgrounds: Callable[[int, Views], Tensor] | None = None,
    densify: Densifier | None = None,
) -> Iterator[Step]:
    """Yields a Step after each update, from step `first` to the last.

    `batch(step)` and `backgrounds(step, views)` depend on the step alone, dropout on `seed` and step: a run that is
    stopped and started again at `first`, with model, optimizer and densify as they were, gives the same bits on the
    CPU. `densify` changes the number of Gaussians between steps.

    Raises:
        FloatingPointError: the loss is not finite; names the step and the terms.
    """
    for step in range(first, config.steps):
        start = time.perf_counter()
        views = batch(step)
        splats = dropped(model(views), config.dropout, step, seed)
        behind = backgrounds(step, views) if backgrounds else None
        draws = drawing(config, step, splats.sh_degree)
        if densify:
            draws = replace(draws, absgrad=densify.config.absgrad)
        image = render(splats, views.cameras, draws, backgrounds=behind)
        values = evaluate(terms, Context(step, config.steps, model, splats, image, views))
        total = torch.stack(list(values.values())).sum()
        numbers = {name: float(value.detach()) for name, value in values.items()}
        if not torch.isfinite(total):
            raise FloatingPointError(f"step {step}: the loss is not finite: {numbers}")
        optimizer.zero_grad(set_to_none=True)
        if densify:
            densify.before_backward(image, splats, views.cameras)
        total.backward()
        set_rates(optimizer, config.optim, step, config.steps)
        if isinstance(optimizer, SelectiveAdam):
            optimizer.seen = image.visible.any(0)
        optimizer.step()
        if densify:
            size = (views.cameras.width * draws.supersample, views.cameras.height * draws.supersample)
            densify.after_step(step, config.steps, seed, model, optimizer, image, size)  # type: ignore[arg-type]
        yield Step(step, numbers, splats.detach(), _detached(image), views, time.perf_counter() - start)


def drawing(config: FitConfig, step: int, degree: int) -> RenderConfig:
    """How a step is drawn; depends on the step alone."""
    progress, factor = step / max(config.steps, 1), config.render.supersample
    if config.multisample > 1 and progress >= config.multisample_from:
        generator = torch.Generator().manual_seed(step)
        factor = int(torch.randint(1, config.multisample + 1, (), generator=generator))
    inactive = [n for n, share in enumerate(config.sh_from) if progress < share]
    wanted = degree if config.render.sh_degree is None else config.render.sh_degree
    return replace(config.render, supersample=factor, sh_degree=min([wanted, *inactive]))


def _detached(image: Render) -> Render:
    features = None if image.features is None else image.features.detach()
    colors, alphas, depths = image.colors.detach(), image.alphas.detach(), image.depths.detach()
    return Render(colors, alphas, depths, features, image.means2d, image.radii)


def shuffled(count: int, step: int, seed: int) -> int:
    """Index of the view for a step: each view once in every round, in an order that depends on seed and round alone."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step // count)
    return int(torch.randperm(count, generator=generator)[step % count])
