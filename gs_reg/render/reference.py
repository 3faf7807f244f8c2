"""The judge: plain torch, any dtype and device, no tiles, autograd. Memory grows with splats times pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gs_reg.geometry import pixel_centers
from gs_reg.render.config import RenderConfig
from gs_reg.render.native import stack_channels, unstack_channels, viewpoints
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_colors_reference
from gs_reg.types import Cameras, Render, Splats

PIXELS_AT_ONCE = 4096


def draw(
    splats: Splats,
    cameras: Cameras,
    config: RenderConfig,
    degree: int,
    features: Tensor | None,
    backgrounds: Tensor | None,
) -> Render:
    if config.absgrad:
        raise ValueError("absgrad: the reference backend cannot sum absolute pixel gradients; use native")
    means2d, depths, conics, opacities, radii = project(splats, cameras, config)
    colors = sh_colors_reference(splats.sh, splats.means, viewpoints(cameras, degree), degree)
    channels = stack_channels(colors, depths, features)
    images, alphas = [], []
    for c in range(len(cameras)):
        rows = (radii[c] > 0).all(-1).nonzero()[:, 0]
        # ascending depth as 32-bit floats, ties by index
        rows = rows[torch.sort(depths[c, rows].detach().float(), stable=True).indices]
        image, alpha = composite(
            means2d[c, rows],
            conics[c, rows],
            opacities[c, rows],
            channels[c, rows],
            cameras.width,
            cameras.height,
            config,
        )
        if backgrounds is not None:
            pad = torch.nn.functional.pad(backgrounds[c], (0, channels.shape[-1] - 3))
            image = image + (1 - alpha)[..., None] * pad
        images.append(image)
        alphas.append(alpha)
    return unstack_channels(torch.stack(images), torch.stack(alphas), means2d, radii, features is not None)


def project(splats: Splats, cameras: Cameras, config: RenderConfig) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """means2d [C,N,2], depths [C,N], conics [C,N,3], opacities [C,N], radii [C,N,2]; culled rows are zero."""
    R, t = cameras.viewmats[:, None, :3, :3], cameras.viewmats[:, None, :3, 3]
    p = (R @ splats.means[:, :, None])[..., 0] + t
    in_range = (p[..., 2] >= config.near) & (p[..., 2] <= config.far)
    if config.camera_model == "pinhole":
        in_range &= p[..., 2] > 0
    rows = [splats.means, splats.quats, splats.scales, splats.opacities[:, None]]
    if splats.warps is not None:
        rows.append(splats.warps.flatten(1))
    finite = torch.isfinite(torch.cat(rows, -1)).all(-1)
    finite &= splats.quats.square().sum(-1) > 0
    kept = in_range & finite
    p = torch.where(kept[..., None], p, torch.ones_like(p))
    means2d, J = _camera(p, cameras, config)
    quats = torch.where(finite[:, None], splats.quats, torch.ones_like(splats.quats))
    axes = quat_to_rotmat(quats)
    if splats.warps is not None:
        axes = torch.where(finite[:, None, None], splats.warps, torch.zeros_like(splats.warps)) @ axes
    M = J @ R @ axes @ torch.diag_embed(splats.scales.nan_to_num())
    cov = M @ M.mT
    det_raw = cov[..., 0, 0] * cov[..., 1, 1] - cov[..., 0, 1] ** 2
    cov = cov + config.eps2d * torch.eye(2, dtype=cov.dtype, device=cov.device)
    det = cov[..., 0, 0] * cov[..., 1, 1] - cov[..., 0, 1] ** 2
    kept = kept & (det > 0)
    safe = torch.where(kept, det, torch.ones_like(det))
    opacities = splats.opacities.clamp_max(1).expand(len(cameras), -1)
    if config.mode == "antialiased":
        opacities = opacities * (det_raw / safe).clamp_min(1e-30).sqrt()
    kept = kept & (opacities >= config.alpha_min) & (opacities > 0)
    conics = torch.stack([cov[..., 1, 1], -cov[..., 0, 1], cov[..., 0, 0]], -1) / safe[..., None]
    extent = (
        (2 * (opacities.detach().clamp_min(1e-30) / config.alpha_min).log()).clamp_min(0).sqrt()
        if config.alpha_min
        else math.inf
    )
    sigmas = cov.detach().diagonal(dim1=-2, dim2=-1).sqrt()
    radii = (sigmas * (extent[..., None] if isinstance(extent, Tensor) else extent)).clamp_max(1 << 30).ceil()
    size = torch.tensor([cameras.width, cameras.height], dtype=p.dtype, device=p.device)
    kept = kept & ((means2d + radii > 0) & (means2d - radii < size)).all(-1) & (radii > config.radius_clip).any(-1)
    zero = torch.zeros((), dtype=p.dtype, device=p.device)
    return (
        torch.where(kept[..., None], means2d, zero),
        torch.where(kept, p[..., 2], zero),
        torch.where(kept[..., None], conics, zero),
        torch.where(kept, opacities, zero),
        torch.where(kept[..., None], radii, zero).int(),
    )


def _camera(p: Tensor, cameras: Cameras, config: RenderConfig) -> tuple[Tensor, Tensor]:
    """Pixel of camera-space points [C,N,3] and its Jacobian [C,N,2,3], slopes clamped in the Jacobian alone."""
    K = cameras.Ks[:, None]
    fx, fy, cx, cy = K[..., 0, 0], K[..., 1, 1], K[..., 0, 2], K[..., 1, 2]
    x, y, z = p.unbind(-1)
    zero = torch.zeros_like(x)
    if config.camera_model == "ortho":
        means2d = torch.stack([fx * x + cx, fy * y + cy], -1)
        J = torch.stack([fx + zero, zero, zero, zero, fy + zero, zero], -1)
        return means2d, J.unflatten(-1, (2, 3))
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    w, h = cameras.width, cameras.height
    slope_x = torch.minimum(torch.maximum(x / z, -(cx + 0.15 * w) / fx), (w - cx + 0.15 * w) / fx)
    slope_y = torch.minimum(torch.maximum(y / z, -(cy + 0.15 * h) / fy), (h - cy + 0.15 * h) / fy)
    J = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1)
    return means2d, J.unflatten(-1, (2, 3))


def composite(
    means2d: Tensor, conics: Tensor, opacities: Tensor, channels: Tensor, width: int, height: int, config: RenderConfig
) -> tuple[Tensor, Tensor]:
    """Image [H,W,D] and alpha [H,W] of depth-sorted splats over nothing."""
    pixels = pixel_centers(width, height, means2d).reshape(-1, 2)
    images, alphas = [], []
    for chunk in pixels.split(PIXELS_AT_ONCE):
        d = means2d[:, None] - chunk
        a, b, c = conics[:, None].unbind(-1)
        sigma = (0.5 * (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) + b * d[..., 0] * d[..., 1]).clamp_min(0)
        raw = opacities[:, None] * torch.exp(-sigma)
        alpha = torch.where(raw >= config.alpha_min, raw.clamp_max(config.alpha_max), torch.zeros_like(raw))
        after = torch.cumprod(1 - alpha, dim=0)
        if config.transmittance_min > 0:
            # the product only falls, so this drops the splat that reaches the cut and every one behind it
            alpha = torch.where(after > config.transmittance_min, alpha, torch.zeros_like(alpha))
            after = torch.cumprod(1 - alpha, dim=0)
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
        images.append(torch.einsum("np,nd->pd", alpha * before, channels))
        alphas.append(1 - after[-1] if len(after) else torch.zeros_like(chunk[:, 0]))
    return torch.cat(images).reshape(height, width, -1), torch.cat(alphas).reshape(height, width)
