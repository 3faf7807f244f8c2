"""What one training step looks at, as a value: made by a function of the step, so that resuming needs no history."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.dropout import Dropout
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Render, Splats, Views


@dataclass(frozen=True)
class Shot:
    views: Views
    """Cameras that are drawn, with what is known of them."""
    render: RenderConfig = RenderConfig()
    background: Float[Tensor, "3"] | None = None
    """Colour behind the splats; None = black."""
    features: tuple[str, ...] = ()
    """Names of `extra` columns of the splats that are drawn as features, side by side, over 0."""
    dropout: Dropout = Dropout(0.0)

    def draw(self, splats: Splats, cameras: Cameras | None = None, absgrad: bool = False) -> Render:
        """Draws splats as this step does, into its own cameras or others.

        Raises:
            ValueError: a column of `features` that the splats do not have.
        """
        cameras = cameras or self.views.cameras
        for name in self.features:
            if name not in splats.extra:
                known = ", ".join(splats.extra) or "none"
                raise ValueError(f"features: the splats have no extra {name!r}; they have {known}")
        columns = [splats.extra[name].reshape(len(splats), -1) for name in self.features]
        return render(
            splats,
            cameras,
            replace(self.render, absgrad=absgrad) if absgrad else self.render,
            features=torch.cat(columns, 1) if columns else None,
            backgrounds=None if self.background is None else self.background.expand(len(cameras), 3),
        )
