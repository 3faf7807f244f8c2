"""Our kernels behind render(); the device of the tensors alone chooses CPU or CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg import _library, _ops
from gs_reg.errors import MissingPart
from gs_reg.render.config import RenderConfig
from gs_reg.types import Cameras, Render, Splats


def draw(
    splats: Splats,
    cameras: Cameras,
    config: RenderConfig,
    degree: int,
    features: Tensor | None,
    backgrounds: Tensor | None,
) -> Render:
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
    channels = _ops.sh_channels(splats.sh, splats.means, viewpoints(cameras, degree), depths, degree, 0.5, True)
    if features is not None:
        channels = torch.cat([channels, features.expand(len(cameras), -1, -1)], dim=-1)
    image, alphas, _state = _ops.rasterize(
        means2d,
        conics,
        opacities2d,
        channels,
        None if backgrounds is None else torch.nn.functional.pad(backgrounds, (0, channels.shape[-1] - 3)),
        absolute_gradient_of(means2d) if config.absgrad else None,
        shapes,
        depths,
        radii,
        width,
        height,
        config.alpha_min,
        config.alpha_max,
        config.transmittance_min,
    )
    return unstack_channels(image, alphas, means2d, radii, features is not None)


def viewpoints(cameras: Cameras, degree: int) -> Tensor:
    """Camera centres. Colour of degree 0 has no use for them, so that a singular viewmat may be drawn in it."""
    return cameras.centers if degree > 0 else cameras.viewmats[:, :3, 3]


def stack_channels(colors: Tensor, depths: Tensor, features: Tensor | None) -> Tensor:
    """RGB, depth and features in the one array that a single pass composites."""
    parts = [colors, depths[..., None]]
    if features is not None:
        parts.append(features.expand(colors.shape[0], -1, -1))
    return torch.cat(parts, dim=-1)


def unstack_channels(image: Tensor, alphas: Tensor, means2d: Tensor, radii: Tensor, has_features: bool) -> Render:
    return Render(
        colors=image[..., :3],
        alphas=alphas[..., None],
        depths=image[..., 3:4],
        features=image[..., 4:] if has_features else None,
        means2d=means2d,
        radii=radii,
    )


def absolute_gradient_of(means2d: Tensor) -> Tensor:
    """A zero tensor whose gradient is copied to `means2d.absgrad` when backward reaches it."""
    absolute = torch.zeros_like(means2d).requires_grad_(means2d.requires_grad)
    if means2d.requires_grad:
        absolute.register_hook(lambda grad: setattr(means2d, "absgrad", grad))
    return absolute
