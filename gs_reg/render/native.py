"""Our kernels behind render(); the device of the tensors alone chooses CPU or CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg import _library, _ops
from gs_reg.errors import MissingPart
from gs_reg.render.config import RenderConfig
from gs_reg.render.projected import Lifted, Projected, viewpoints
from gs_reg.types import Cameras, Splats


def project(splats: Splats, cameras: Cameras, config: RenderConfig) -> Projected:
    try:
        _library.library(splats.means.device.type)
    except RuntimeError as error:
        raise MissingPart(f"backend native: {error}") from None
    width, height = cameras.width, cameras.height
    means2d, depths, conics, opacities2d, shapes, radii, _nonfinite = _ops.project(
        splats.means,
        splats.quats,
        splats.scales,
        splats.opacities,
        splats.warps,
        cameras.viewmats,
        cameras.Ks,
        width,
        height,
        config.near,
        config.far,
        config.radius_clip,
        config.eps2d,
        config.alpha_min,
        config.mode == "antialiased",
        config.camera_model == "ortho",
    )
    return Projected(means2d, depths, conics, opacities2d, radii, width, height, config, shapes)


def colors_and_depths(splats: Splats, cameras: Cameras, depths: Tensor, degree: int) -> Tensor:
    return _ops.sh_channels(splats.sh, splats.means, viewpoints(cameras, degree), depths, degree, 0.5, True)


def composite(projected: Projected, channels: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor]:
    p, config = projected, projected.config
    image, alphas, _state = _ops.rasterize(
        p.means2d,
        p.conics,
        p.opacities,
        channels,
        backgrounds,
        absolute_gradient_of(p.means2d) if config.absgrad else None,
        p.shapes,
        p.depths,
        p.radii,
        p.width,
        p.height,
        config.alpha_min,
        config.alpha_max,
        config.transmittance_min,
    )
    return image, alphas[..., None]


def lift(projected: Projected, maps: Tensor) -> Lifted:
    p, c = projected, projected.config
    cutoffs = (c.alpha_min, c.alpha_max, c.transmittance_min)
    return Lifted(*_ops.lift(p.means2d, p.shapes, p.depths, p.radii, maps, *cutoffs))


def absolute_gradient_of(means2d: Tensor) -> Tensor:
    """A zero tensor whose gradient is copied to `means2d.absgrad` when backward reaches it."""
    absolute = torch.zeros_like(means2d).requires_grad_(means2d.requires_grad)
    if means2d.requires_grad:
        absolute.register_hook(lambda grad: setattr(means2d, "absgrad", grad))
    return absolute
