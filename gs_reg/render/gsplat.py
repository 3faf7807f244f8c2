"""The gsplat library behind render(); CUDA only, as its kernels are. The one home of the package."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg.errors import MissingPart
from gs_reg.render.config import RenderConfig
from gs_reg.render.native import stack_channels, unstack_channels, viewpoints
from gs_reg.sh import sh_colors
from gs_reg.types import Cameras, Render, Splats

FIXED = {"alpha_min": 1 / 255, "alpha_max": 0.999, "transmittance_min": 1e-4}


def draw(
    splats: Splats,
    cameras: Cameras,
    config: RenderConfig,
    degree: int,
    features: Tensor | None,
    backgrounds: Tensor | None,
) -> Render:
    """Draws with gsplat.rasterization.

    Raises:
        MissingPart: no CUDA tensors, or gsplat is not installed.
        ValueError: a cut-off that gsplat has built in is set to another value.
    """
    rasterization = _rasterization(splats.means.device)
    for name, value in FIXED.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"{name}: gsplat has {value:g} built in and cannot take {getattr(config, name):g}; use native"
            )
    depths = _camera_depths(splats, cameras)
    colors = sh_colors(splats.sh, splats.means, viewpoints(cameras, degree), degree)
    channels = stack_channels(colors, depths, features)
    padded = None if backgrounds is None else torch.nn.functional.pad(backgrounds, (0, channels.shape[-1] - 3))
    image, alphas, meta = rasterization(
        splats.means,
        splats.quats,
        splats.scales,
        splats.opacities,
        channels,
        cameras.viewmats,
        cameras.Ks,
        cameras.width,
        cameras.height,
        near_plane=config.near,
        far_plane=config.far,
        radius_clip=config.radius_clip,
        eps2d=config.eps2d,
        packed=False,
        backgrounds=padded,
        absgrad=config.absgrad,
        rasterize_mode=config.mode,
        camera_model=config.camera_model,
    )
    return unstack_channels(image, alphas[..., 0], meta["means2d"], meta["radii"], features is not None)


def _rasterization(device: torch.device):
    if device.type != "cuda":
        raise MissingPart(
            "backend gsplat: needs tensors on a CUDA device, and these are on the CPU; use backend native"
        )
    try:
        from gsplat import rasterization  # pyright: ignore[reportAttributeAccessIssue]: it takes this very file for it
    except ImportError as error:
        raise MissingPart(f"backend gsplat: pip install 'gs-reg[gsplat]' ({error})") from None
    return rasterization


def _camera_depths(splats: Splats, cameras: Cameras) -> Tensor:
    rows = cameras.viewmats[:, 2]
    return torch.einsum("nj,cj->cn", splats.means, rows[:, :3]) + rows[:, 3:]
