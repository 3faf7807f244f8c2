"""gsplat's strategies, and what they do as an Edit.

The strategies change dictionaries of parameters and optimisers in place. Here they are given a column of row numbers
beside means, quats, scales and opacities, and optimisers whose state is row numbers too. Where those end up says which
row each new Gaussian, and its optimiser's state, came from.
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
"""gsplat's names and ours."""


@dataclass
class Means2d:
    """The gradients that gsplat reads off the projected centres; it has no double precision."""

    grad: Float[Tensor, "C N 2"]
    absgrad: Float[Tensor, "C N 2"] | None

    @classmethod
    def of(cls, image: Render) -> Means2d:
        grad, absolute = image.means2d.grad, getattr(image.means2d, "absgrad", None)
        grad = torch.zeros_like(image.means2d) if grad is None else grad
        return cls(grad.float(), None if absolute is None else absolute.float())


@dataclass
class _RowOptimizer:
    """An optimiser as gsplat sees it; `origin` is 1 + the row that the state is of, 0 where it starts anew. Doubles,
    as gsplat fills up with float zeros."""

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
    """One step of DefaultStrategy; `state` (`scale`, and sums that begin with the first step) is brought forward."""
    info = {
        "means2d": means2d,
        "radii": radii,
        "width": size[0],
        "height": size[1],
        "n_cameras": len(radii),
        "gaussian_ids": None,
    }
    running = {name: state.get(name) for name in ("grad2d", "count")} | {"scene_scale": float(state["scale"])}

    def act(params, optimizers):
        strategy.check_sanity(params, optimizers)
        strategy.step_post_backward(params, optimizers, running, step, info)

    edit = _as_edit(splats, act)
    state.update({name: value for name, value in running.items() if isinstance(value, Tensor)})
    return edit


def mcmc_edit(strategy: Any, splats: Splats, step: int, rate: float) -> Edit:
    """One step of MCMCStrategy, which moves every Gaussian; `rate` scales its noise."""
    state = _binomials(type(strategy))
    # it writes into what it is given
    splats = Splats(
        *[getattr(splats, name).clone() for name in ("means", "quats", "log_scales", "opacity_logits", "sh")]
    )

    def act(params, optimizers):
        strategy.step_post_backward(params, optimizers, state, step, info={}, lr=rate)

    edit = _as_edit(splats, act)
    if edit is None:
        return Edit(patch={"means": splats.means})
    return edit


@cache
def _binomials(strategy: type) -> dict[str, Tensor]:
    """The state of MCMCStrategy: constants, in a table that takes as long to fill as a step."""
    return strategy().initialize_state()


def _as_edit(splats: Splats, act: Callable[[dict, dict], None]) -> Edit | None:
    given = {name: nn.Parameter(getattr(splats, ours)) for name, ours in COLUMNS.items()}
    rows = nn.Parameter(torch.arange(len(splats), device=splats.means.device), requires_grad=False)
    params, optimizers = {**given, "rows": rows}, {name: _RowOptimizer.of(p) for name, p in given.items()}
    act(params, optimizers)
    patch = {ours: params[name].detach() for name, ours in COLUMNS.items() if params[name] is not given[name]}
    if not patch:
        return None
    origins = {ours: optimizers[name].origin() for name, ours in COLUMNS.items()}
    fresh = origins["means"] != params["rows"]  # also where gsplat leaves a moved one the state of its old place
    forget = frozenset(name for name, origin in origins.items() if (origin < 0).all() and not fresh.all())
    if params["rows"] is rows:
        return Edit(patch=patch, forget=forget)
    return Edit(params["rows"].detach(), fresh, patch, forget)
