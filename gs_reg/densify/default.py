"""Clone, split and prune (3DGS, section 5.2) by gsplat's DefaultStrategy, on any backend."""

from __future__ import annotations

from gs_reg.densify.control import ScaledControl
from gs_reg.densify.gsplat_edit import Means2d, default_edit
from gs_reg.densify.observation import Observation, seeded_rng
from gs_reg.edit import Edit
from gs_reg.render.gsplat import strategies
from gs_reg.types import Cameras, Render, Splats


class DefaultControl(ScaledControl):
    """Beside the scene scale it keeps gsplat's running sums `grad2d` and `count`, with a row for each Gaussian."""

    @property
    def absgrad(self) -> bool:
        return self.config.absgrad

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        image.means2d.retain_grad()
        super().step_pre_backward(image, splats, cameras)

    def step_post_backward(self, observation: Observation) -> Edit | None:
        if "scale" not in self._tensors:
            return None
        c, o = self.config, observation
        strategy = strategies()[0](
            prune_opa=c.prune_opacity,
            grow_grad2d=c.grad,
            grow_scale3d=c.split_scale,
            prune_scale3d=c.prune_scale,
            refine_start_iter=round(c.start * o.steps),
            refine_stop_iter=round(c.stop * o.steps),
            refine_every=c.every,
            reset_every=c.reset_every,
            absgrad=c.absgrad,
        )
        with seeded_rng(o, self.seed):
            return default_edit(strategy, self._tensors, o.splats, Means2d.of(o.image), o.image.radii, o.size, o.step)
