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


class TorchMcmc(ScaledControl):
    """In plain torch on every device."""

    def step_post_backward(self, observation: Observation) -> Edit | None:
        if "scale" not in self._tensors:
            return None
        with seeded_rng(observation, self.seed):
            return self._edit(observation, self.config.noise * float(self._tensors["scale"]) * observation.decay)

    def _edit(self, o: Observation, scaler: float) -> Edit:
        first, last = self._steps(o)
        cap = self.config.cap_max if first < o.step < last and o.step % self.config.every == 0 else None
        return mcmc_edit_torch(o.splats, cap, self.config.prune_opacity, scaler)

    def _steps(self, o: Observation) -> tuple[int, int]:
        """Between which it relocates and adds."""
        return round(self.config.start * o.steps), round(self.config.stop * o.steps)


class McmcControl(TorchMcmc):
    """By gsplat on CUDA."""

    def _edit(self, o: Observation, scaler: float) -> Edit:
        if o.splats.means.device.type != "cuda":
            return super()._edit(o, scaler)
        c, (first, last) = self.config, self._steps(o)
        strategy = strategies()[1](
            cap_max=c.cap_max,
            noise_lr=1.0,  # gsplat multiplies it with the lr it is given, which is `scaler` here
            refine_start_iter=first,
            refine_stop_iter=last,
            refine_every=c.every,
            min_opacity=c.prune_opacity,
        )
        return mcmc_edit(strategy, o.splats, o.step, scaler)
