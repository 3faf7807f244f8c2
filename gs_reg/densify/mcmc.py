"""3DGS-MCMC (Kheradmand et al. 2024): relocation, growth and noise.

On CUDA by gsplat's MCMCStrategy; on other devices in plain torch, as gsplat's kernels run on CUDA only.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gs_reg.densify.config import DensifyConfig
from gs_reg.densify.gsplat_edit import mcmc_edit
from gs_reg.densify.mcmc_torch import mcmc_edit_torch
from gs_reg.densify.observation import Observation, median_depth, seeded_rng
from gs_reg.edit import Edit
from gs_reg.render.gsplat import strategies
from gs_reg.types import Cameras, Render, Splats


class McmcControl:
    absgrad = False

    def __init__(self, config: DensifyConfig, seed: int = 0):
        self.config, self.seed = config, seed
        self._tensors: dict[str, Tensor] = {}
        """`scale`: the scene scale, once the first picture has shown it."""

    def tensors(self) -> Mapping[str, Tensor]:
        return self._tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        if "scale" not in self._tensors and (scale := median_depth(image, splats, cameras)) is not None:
            self._tensors["scale"] = scale

    def step_post_backward(self, observation: Observation) -> Edit | None:
        if "scale" not in self._tensors:
            return None
        c, o = self.config, observation
        scaler = c.noise * float(self._tensors["scale"]) * o.decay
        first, last = round(c.start * o.steps), round(c.stop * o.steps)
        with seeded_rng(o, self.seed):
            if o.splats.means.device.type != "cuda":
                refine = first < o.step < last and o.step % c.every == 0
                return mcmc_edit_torch(o.splats, c.cap_max if refine else None, c.prune_opacity, scaler)
            strategy = strategies()[1](
                cap_max=c.cap_max,
                noise_lr=1.0,  # gsplat multiplies it with the lr it is given, which is `scaler` here
                refine_start_iter=first,
                refine_stop_iter=last,
                refine_every=c.every,
                min_opacity=c.prune_opacity,
            )
            return mcmc_edit(strategy, o.splats, o.step, scaler)
