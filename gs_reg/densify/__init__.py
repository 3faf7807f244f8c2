"""Adaptive control of the number of Gaussians while they are trained, by gsplat's strategies, on any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gs_reg import edit as edits
from gs_reg.densify.markov import markov_edit
from gs_reg.densify.strategies import Means2d, default_edit, mcmc_edit
from gs_reg.edit import Editable
from gs_reg.render.gsplat import strategies
from gs_reg.types import Cameras, Render, Splats

__all__ = ["Densifier", "DensifyConfig", "check"]


@dataclass(frozen=True)
class DensifyConfig:
    """`every` steps between the shares `start` and `stop` of the run some Gaussians come and go."""

    method: Literal["none", "default", "mcmc"] = "none"
    """default: clone and split where the image pulls, prune the faint (3DGS; gsplat's DefaultStrategy); mcmc: move the
    faint to the opaque, add a twentieth, shake all (3DGS-MCMC; gsplat's MCMCStrategy)."""
    start: float = 1 / 60
    """Share of the run before which nothing changes."""
    stop: float = 0.5
    """Share of the run after which nothing changes."""
    every: int = 100
    """Steps from one change to the next."""
    prune_opacity: float = 0.005
    """Gaussians fainter than this go, with mcmc to another place."""
    grad: float = 2e-4
    """default: mean gradient of the projected centre, in half image sizes, above which a Gaussian is cloned or split;
    with absgrad 8e-4 is usual."""
    absgrad: bool = False
    """default: decide by the sum of absolute gradients (AbsGS)."""
    split_scale: float = 0.01
    """default: sizes above this are split, others cloned; in units of the median depth of the first picture."""
    prune_scale: float = 0.1
    """default: sizes above this go, after `reset_every` steps; in the same unit."""
    reset_every: int = 3000
    """default: steps from one lowering of all opacities to the next; gsplat 1.5.3, by a slip, never does it."""
    most: int = 1_000_000
    """mcmc: number of Gaussians at most."""
    noise: float = 80.0
    """mcmc: strength of the shaking, in the same unit; it falls with the learning rates."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every: expected at least 1 step, got {self.every}")


def check(config: DensifyConfig, device: torch.device) -> None:
    """Raises MissingPart where the method needs gsplat and it is not installed."""
    if config.method == "default" or (config.method == "mcmc" and device.type == "cuda"):
        strategies()


class Densifier:
    """What decides, with what it remembers from step to step; its randomness is of seed and step alone."""

    def __init__(self, config: DensifyConfig, tensors: dict[str, Tensor] | None = None):
        """Fresh, or from the tensors of another one."""
        self.config = config
        self.tensors = dict(tensors or {})
        """`scale`, a number; for the method default also sums over steps, a row for each Gaussian."""

    def before_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        """Asks for the gradient of the projected centres; the first picture that shows anything sets the unit."""
        if self.config.method == "default":
            image.means2d.retain_grad()
        if "scale" not in self.tensors and image.visible.any():
            depths = splats.means.detach() @ cameras.viewmats[:, 2, :3].T + cameras.viewmats[:, 2, 3]
            self.tensors["scale"] = depths.T[image.visible].median().double()

    def after_step(
        self,
        step: int,
        steps: int,
        seed: int,
        model: Editable,
        optimizer: torch.optim.Optimizer,
        image: Render,
        size: tuple[int, int],
    ) -> None:
        """Changes model and optimiser where it is time to; `size` is the width and height that were drawn."""
        if "scale" not in self.tensors:
            return
        splats = model().detach()  # type: ignore[operator]
        device = splats.means.device
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(1_000_003 * seed + 7 * step + 3)
            if self.config.method == "default":
                edit = self._default(step, steps, splats, image, size)
            else:
                edit = self._mcmc(step, steps, splats, optimizer)
        if edit is not None:
            edits.apply(edit, model, optimizer)

    def _default(self, step: int, steps: int, splats: Splats, image: Render, size: tuple[int, int]):
        c = self.config
        strategy = strategies()[0](
            prune_opa=c.prune_opacity,
            grow_grad2d=c.grad,
            grow_scale3d=c.split_scale,
            prune_scale3d=c.prune_scale,
            refine_start_iter=round(c.start * steps),
            refine_stop_iter=round(c.stop * steps),
            refine_every=c.every,
            reset_every=c.reset_every,
            absgrad=c.absgrad,
        )
        return default_edit(strategy, self.tensors, splats, Means2d.of(image), image.radii, size, step)

    def _mcmc(self, step: int, steps: int, splats: Splats, optimizer: torch.optim.Optimizer):
        c, group = self.config, optimizer.param_groups[0]
        rate = c.noise * float(self.tensors["scale"]) * group["lr"] / group["start_lr"]
        first, last = round(c.start * steps), round(c.stop * steps)
        if splats.means.device.type != "cuda":  # where gsplat's has no kernels
            refine = first < step < last and step % c.every == 0
            return markov_edit(splats, c.most if refine else None, c.prune_opacity, rate)
        strategy = strategies()[1](
            cap_max=c.most,
            noise_lr=1.0,
            refine_start_iter=first,
            refine_stop_iter=last,
            refine_every=c.every,
            min_opacity=c.prune_opacity,
        )
        return mcmc_edit(strategy, splats, step, rate)
