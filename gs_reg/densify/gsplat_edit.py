"""Runs a step of gsplat's strategies and records what it did as an Edit.

The strategies change dictionaries of parameters and optimisers in place. Here they also get a parameter of row numbers,
and optimisers whose only state is row numbers. After the step, these say which old row each Gaussian and each row of
optimiser state came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gs_reg.edit import Edit
from gs_reg.types import Render, Splats

COLUMNS = {"means": "means", "quats": "quats", "scales": "log_scales", "opacities": "opacity_logits"}
"""From gsplat's names of parameters to the fields of Splats."""


@dataclass
class Means2d:
    """Stands for gsplat's `info["means2d"]`, of which a strategy reads only the gradients. Always float32."""

    grad: Float[Tensor, "C N 2"]
    absgrad: Float[Tensor, "C N 2"] | None

    @classmethod
    def of(cls, image: Render) -> Means2d:
        grad, absolute = image.means2d.grad, getattr(image.means2d, "absgrad", None)
        grad = torch.zeros_like(image.means2d) if grad is None else grad
        return cls(grad.float(), None if absolute is None else absolute.float())


@dataclass
class _RowOptimizer:
    """Stands for a torch optimiser; its state `origin` is 1 + the row it belongs to.

    gsplat writes zeros where it resets state, so 0 means a fresh row. Doubles, as gsplat appends float zeros and row
    numbers above 2^24 do not fit float32.
    """

    param_groups: list[dict[str, Any]]
    state: dict[nn.Parameter, dict[str, Tensor]]

    @classmethod
    def of(cls, parameter: nn.Parameter) -> _RowOptimizer:
        origin = torch.arange(1, len(parameter) + 1, dtype=torch.float64, device=parameter.device)
        return cls([{"params": [parameter]}], {parameter: {"origin": origin}})

    def origin(self) -> Int[Tensor, "M"]:
        (parameter,) = self.param_groups[0]["params"]
        return self.state[parameter]["origin"].long() - 1


def default_edit(
    strategy: Any,
    state: dict[str, Tensor],
    splats: Splats,
    means2d: Means2d,
    radii: Int[Tensor, "C N 2"],
    size: tuple[int, int],
    step: int,
) -> Edit | None:
    """One step of DefaultStrategy; None where it changes nothing.

    `state` holds `scale` and the running sums `grad2d` and `count`; the sums are updated. `size` is width and height.
    """
    info = {
        "means2d": means2d,
        "radii": radii,
        "width": size[0],
        "height": size[1],
        "n_cameras": len(radii),
        "gaussian_ids": None,
    }
    running = {name: state.get(name) for name in ("grad2d", "count")} | {"scene_scale": float(state["scale"])}

    def step_strategy(params, optimizers):
        strategy.check_sanity(params, optimizers)
        strategy.step_post_backward(params, optimizers, running, step, info)

    edit = _record_edit(splats, step_strategy)
    state.update({name: value for name, value in running.items() if isinstance(value, Tensor)})
    return edit


def mcmc_edit(strategy: Any, splats: Splats, step: int, scaler: float) -> Edit:
    """One step of MCMCStrategy, which adds noise to every mean; `scaler` is the standard deviation's factor."""
    state = _mcmc_state(type(strategy))
    # the strategy adds noise in place: the model's own tensors must not change
    splats = Splats(
        *[getattr(splats, name).clone() for name in ("means", "quats", "log_scales", "opacity_logits", "sh")]
    )

    def step_strategy(params, optimizers):
        strategy.step_post_backward(params, optimizers, state, step, info={}, lr=scaler)

    edit = _record_edit(splats, step_strategy)
    if edit is None:
        return Edit(patch={"means": splats.means})
    return edit


@cache
def _mcmc_state(strategy: type) -> dict[str, Tensor]:
    """The state of MCMCStrategy: only a constant table of binomials. Cached, as filling it takes as long as a step."""
    return strategy().initialize_state()


def _record_edit(splats: Splats, step_strategy: Callable[[dict, dict], None]) -> Edit | None:
    """What `step_strategy(params, optimizers)` does to the splats; None where no parameter was replaced."""
    before = {name: nn.Parameter(getattr(splats, ours)) for name, ours in COLUMNS.items()}
    rows = nn.Parameter(torch.arange(len(splats), device=splats.means.device), requires_grad=False)
    params, optimizers = {**before, "rows": rows}, {name: _RowOptimizer.of(p) for name, p in before.items()}
    step_strategy(params, optimizers)
    patch = {ours: params[name].detach() for name, ours in COLUMNS.items() if params[name] is not before[name]}
    if not patch:
        return None
    origins = {ours: optimizers[name].origin() for name, ours in COLUMNS.items()}
    # gsplat keeps the moments of a relocated Gaussian, which belong to its old place: we zero them too
    fresh = origins["means"] != params["rows"]
    reset = frozenset(name for name, origin in origins.items() if (origin < 0).all() and not fresh.all())
    if params["rows"] is rows:
        return Edit(patch=patch, reset_groups=reset)
    return Edit(params["rows"].detach(), fresh, patch, reset)
