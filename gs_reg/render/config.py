"""What render() can be asked for; one name all the way down to the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RenderConfig:
    backend: Literal["auto", "native", "gsplat", "reference"] = "auto"
    """native: our kernels; gsplat: the library (CUDA only); reference: plain torch, slow, the judge of both."""
    mode: Literal["classic", "antialiased"] = "classic"
    """antialiased: opacity is lowered by what the screen-space low-pass adds to a splat's area."""
    camera_model: Literal["pinhole", "ortho"] = "pinhole"
    """Pinhole cameras, or orthographic ones with Ks in pixels a world unit."""
    near: float = 0.01
    """Splats nearer than this camera-space depth are not drawn, in world units."""
    far: float = 1e10
    """Splats beyond this depth are not drawn."""
    radius_clip: float = 0.0
    """Splats whose extent is at most this many pixels on both axes are not drawn."""
    eps2d: float = 0.3
    """Low-pass added to the 2D covariance, in square pixels."""
    alpha_min: float = 1 / 255
    """A splat's alpha below this at a pixel counts as nothing."""
    alpha_max: float = 0.999
    """Alpha is capped here."""
    transmittance_min: float = 1e-4
    """A pixel is finished before the splat that would take its transmittance to this or below; 0 = never."""
    sh_degree: int | None = None
    """Highest degree of spherical harmonics in use; None = all that the splats have."""
    supersample: int = 1
    """Draw at this whole multiple of the size, then average colour, alpha and depth sum down."""
    absgrad: bool = False
    """Sum the absolute pixel gradients of means2d as well; they arrive as `render.means2d.absgrad`."""

    def __post_init__(self) -> None:
        if self.alpha_max > 0.9999 and self.transmittance_min > 0:
            raise ValueError(
                f"alpha_max: {self.alpha_max} with transmittance_min {self.transmittance_min} would make a lone opaque "
                "splat vanish, as the one that finishes a pixel is left out; use 0.9999 at most, or transmittance_min 0"
            )
