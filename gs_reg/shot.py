"""Shot: the views of one training step and how they are rendered.

A stage makes it from the number of the step alone, so that a resumed run repeats the same bits.
"""

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
    """Cameras to render, with their images and maps."""
    render: RenderConfig = RenderConfig()
    background: Float[Tensor, "3"] | None = None
    """Background colour; None = black."""
    features: tuple[str, ...] = ()
    """Names of `extra` columns that are rendered as feature channels, in this order, over a background of 0."""
    dropout: Dropout = Dropout(0.0)

    def __post_init__(self) -> None:
        if isinstance(self.features, str):
            raise ValueError(f"features: expected a tuple of names, got the text {self.features!r}; write a comma")

    def draw(self, splats: Splats, cameras: Cameras | None = None, absgrad: bool = False) -> Render:
        """Renders splats with this step's settings, into its own cameras or others.

        Raises:
            ValueError: the splats lack an extra that `features` names, or it is not of floats.
        """
        cameras = self.views.cameras if cameras is None else cameras
        for name in self.features:
            if name not in splats.extra:
                known = ", ".join(splats.extra) or "none"
                raise ValueError(f"features: the splats have no extra {name!r}; they have {known}")
            column, want = splats.extra[name], splats.means.dtype
            if column.dtype != want or len(column) != len(splats):
                got = f"{column.dtype} {list(column.shape)}"
                raise ValueError(f"features: extra {name!r}: expected {want} with {len(splats)} rows, got {got}")
        columns = [splats.extra[name].reshape(len(splats), -1) for name in self.features]
        return render(
            splats,
            cameras,
            replace(self.render, absgrad=absgrad) if absgrad else self.render,
            features=torch.cat(columns, 1) if columns else None,
            backgrounds=None if self.background is None else self.background.expand(len(cameras), 3),
        )
