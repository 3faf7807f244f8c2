"""What render() can be asked for; one name all the way down to the kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from gs_reg.errors import InputError

Backend = Literal["auto", "native", "gsplat", "reference"]


@dataclass(frozen=True)
class RenderConfig:
    backend: Backend = "auto"
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
        """Raises InputError, a ValueError, for a value that has no meaning or that a kernel could not take."""
        for name, kind in get_type_hints(RenderConfig).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                raise _wrong(self, name, f"one of {', '.join(get_args(kind))}")
        for name, bounds in BOUNDS.items():
            _check_number(self, name, *bounds)
        if not self.near < self.far:
            raise _wrong(self, "far", f"more than near, {self.near}")
        if self.sh_degree is not None:
            _check_integer(self, "sh_degree", 0, 4)
        _check_integer(self, "supersample", 1, MOST_SUPERSAMPLE)
        if self.alpha_max > 0.9999 and self.transmittance_min > 0:
            raise InputError(
                f"alpha_max: {self.alpha_max} with transmittance_min {self.transmittance_min} would make a lone opaque "
                "splat vanish, as the one that finishes a pixel is left out; use 0.9999 at most, or transmittance_min 0"
            )
        if self.alpha_min > self.alpha_max:
            raise _wrong(self, "alpha_min", f"at most alpha_max, {self.alpha_max}")


BOUNDS = {
    "near": (-1e30, 1e30),
    "far": (-1e30, math.inf),
    "radius_clip": (0.0, 2.0**30),
    "eps2d": (0.0, 1e6),
    "alpha_min": (0.0, 1.0),
    "alpha_max": (1e-6, 1.0),
    "transmittance_min": (0.0, 1.0),
}
"""Of the numbers, both ends included; the kernels refuse what lies beyond them too (cuda/include/gsr/checks.h)."""
MOST_SUPERSAMPLE = 64


def _check_number(config: RenderConfig, name: str, low: float, high: float) -> None:
    value = getattr(config, name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(config, name, f"a number from {low:g} to {high:g}")


def _check_integer(config: RenderConfig, name: str, low: int, high: int) -> None:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(config, name, f"a whole number from {low} to {high}")


def _wrong(config: RenderConfig, name: str, right: str) -> InputError:
    return InputError(f"{name}: expected {right}, got {getattr(config, name)!r}")
