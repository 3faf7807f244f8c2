"""Our controls in nerfstudio's viewer. It finds them as attributes of a module, and calls back from other threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.viewer.viewer_elements import (  # pyright: ignore[reportMissingImports]
    ViewerButton,
    ViewerCheckbox,
    ViewerControl,
    ViewerDropdown,
    ViewerSlider,
    ViewerText,
)
from torch import Tensor, nn

from gs_reg.io import save_splats
from gs_reg.render import RenderConfig, composite, lift, project
from gs_reg.rotations import rotmat_to_quat
from gs_reg.types import Cameras, Splats

from ..look.colormap import colorize, depth_range

COLORS = "rgb", "depth", "confidence"
ALL = "(all)"
AHEAD = 0.05
"""Of the first view before its photo's camera, in units of the cameras' spread: the thumbnail there hides nothing."""
SHOWN = 0.05
"""Largest weight in a photo's pixels from which on the photo shows a splat."""
ENOUGH = 3
"""Photos that show a splat of full confidence: two leave one chance match."""


class FirstView(ViewerControl):
    """Browsers begin at the first training photo, as nerfstudio's own first view is blind to where the photos look."""

    def __init__(self, photos: Callable[[], Sequence[Cameras]]) -> None:
        self._photos = photos

    def _setup(self, viewer: Any) -> None:
        super()._setup(viewer)
        self.server.on_client_connect(self._begin)

    def _begin(self, client: Any) -> None:
        from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO  # pyright: ignore[reportMissingImports]

        photo = self._photos()[0].to("cpu")
        rotation = photo.viewmats[0, :3, :3].T
        position = (photo.centers[0] + AHEAD * rotation[:, 2]) * VISER_NERFSTUDIO_SCALE_RATIO
        with client.atomic():
            client.camera.position = position.numpy()
            client.camera.wxyz = rotmat_to_quat(rotation).numpy()


class Controls(nn.Module):
    """A module without parameters, so that the viewer finds the elements. They change what is drawn, not training."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._splats, self._photos, self._lock = model.splats, model.training_cameras, RLock()
        self._counted: tuple[Tensor, Tensor] | None = None
        self.scale = ViewerSlider("Splat scale", 1.0, 0.05, 2.0, 0.05, hint="Factor on every splat's size")
        self.floor = ViewerSlider("Opacity floor", 0.0, 0.0, 1.0, 0.01, hint="Hides splats of a lower opacity")
        self.degree = ViewerSlider("SH degree", model.config.sh_degree, 0, 4, 1, hint="Highest degree in use")
        parts = model.config.parts
        colors = [*COLORS, "parts"] if parts else [*COLORS]
        self.color = ViewerDropdown("Colour", "rgb", colors, hint="What the rgb output shows")
        self.part = ViewerDropdown("Part", ALL, [ALL, *parts], visible=bool(parts), hint="Shows one part alone")
        self.cut = ViewerSlider("Confidence cut", 0, 0, ENOUGH, 1, hint="Fewest photos that show a splat")
        self.clamp = ViewerCheckbox("Stay near the photos", False, hint="Views from among the cameras alone")
        self.path = ViewerText("File", "splats.ply", hint="Of the button below; in the viewer's coordinates")
        self.save = ViewerButton("Save PLY", cb_hook=self._save)
        self.first_view = FirstView(model.training_cameras)

    def applied(self, splats: Splats) -> Splats:
        """The splats as the controls want them drawn."""
        scale, floor, degree, cut = self.scale.value, self.floor.value, int(self.degree.value), int(self.cut.value)
        if scale != 1:
            splats = replace(splats, log_scales=splats.log_scales + math.log(scale))
        if degree < splats.sh_degree:
            splats = replace(splats, sh=splats.sh[:, : (degree + 1) ** 2])
        if cut > 0 or self.color.value == "confidence":
            splats = replace(splats, extra={**splats.extra, "photos": self.photo_counts()})
        if (part := self.part.value) != ALL:
            splats = splats.rows(splats.extra["part"] == self.part.options.index(part))
        if floor > 0:
            splats = splats.rows(splats.opacities >= floor)
        return splats.rows(splats.extra["photos"] >= cut) if cut > 0 else splats

    def clamped(self, cameras: Cameras) -> Cameras:
        """The camera, moved into the box around those of training where that is asked for."""
        if not self.clamp.value or not (photos := self._photos()):
            return cameras
        centers = torch.cat([photo.centers for photo in photos]).to(cameras.viewmats)
        center = cameras.centers.clamp(centers.amin(0), centers.amax(0))
        viewmats = cameras.viewmats.clone()
        viewmats[:, :3, 3] = -(viewmats[:, :3, :3] @ center[..., None])[..., 0]
        return replace(cameras, viewmats=viewmats)

    def recolored(self, outputs: dict[str, Tensor], splats: Splats, cameras: Cameras, config: RenderConfig) -> Any:
        """The outputs with depth, confidence or parts in the place of rgb, where that is asked for."""
        color = self.color.value
        if color == "depth":
            depth = torch.where(outputs["accumulation"] > 0.5, outputs["depth"], torch.zeros_like(outputs["depth"]))
            return {**outputs, "rgb": colorize(depth[..., 0], *depth_range(depth[..., 0]))}
        if color == "parts":
            from ..view.looks import part_colors

            colors = part_colors(splats.extra["part"])
        elif color == "confidence" and "photos" in splats.extra:
            colors = (splats.extra["photos"].clamp_max(ENOUGH) / ENOUGH).to(splats.means)[:, None].repeat(1, 3)
        else:
            return outputs
        image, _ = composite(project(splats, cameras, config), colors[None])
        return {**outputs, "rgb": image[0].clamp(0, 1)}

    @torch.no_grad()
    def photo_counts(self) -> Float[Tensor, "N"]:
        """How many training photos show each splat; kept until the splats change."""
        with self._lock:
            splats = self._splats().detach()
            if self._counted is None or not torch.equal(self._counted[0], splats.means):
                counts = torch.zeros_like(splats.opacity_logits)
                for photo in self._photos():
                    black = splats.means.new_zeros(1, photo.height, photo.width, 1)
                    counts += lift(project(splats, photo, RenderConfig("native")), black).largest[0] > SHOWN
                self._counted = splats.means.clone(), counts
            return self._counted[1]

    def _save(self, _: Any) -> None:
        save_splats(Path(self.path.value), self._splats().detach().to("cpu"))
        print(f"gs-reg: wrote {Path(self.path.value).absolute()}")
