"""3DGS-MCMC (Kheradmand et al. 2024): relocation, growth and noise.

On CUDA by gsplat's MCMCStrategy; on other devices in plain torch, as gsplat's kernels run on CUDA only.
"""

from __future__ import annotations

from gs_reg.densify.control import ScaledControl
from gs_reg.densify.gsplat_edit import mcmc_edit
from gs_reg.densify.mcmc_torch import mcmc_edit_torch
from gs_reg.densify.observation import Observation, seeded_rng
from gs_reg.edit import Edit
from gs_reg.render.gsplat import strategies


class McmcControl(ScaledControl):
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
