"""Density control: 3DGS-MCMC in plain torch on every device, as gsplat's would compile kernels at their first use."""

from __future__ import annotations

from gs_reg.densify import DensifyConfig, Observation
from gs_reg.densify.control import ScaledControl
from gs_reg.densify.mcmc_torch import mcmc_edit_torch
from gs_reg.densify.observation import seeded_rng
from gs_reg.edit import Edit


class TorchMcmc(ScaledControl):
    """Relocates dead Gaussians, adds new ones and moves all by noise; random by seed and step alone."""

    config: DensifyConfig

    def step_post_backward(self, observation: Observation) -> Edit | None:
        if "scale" not in self._tensors:
            return None
        c, o = self.config, observation
        refine = round(c.start * o.steps) < o.step < round(c.stop * o.steps) and o.step % c.every == 0
        with seeded_rng(o, self.seed):
            cap = c.cap_max if refine else None
            return mcmc_edit_torch(o.splats, cap, c.prune_opacity, c.noise * float(self._tensors["scale"]) * o.decay)
