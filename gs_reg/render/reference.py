"""The judge: plain torch, any dtype and device, no tiles, autograd. Memory grows with splats times pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gs_reg.geometry import pixel_centers
from gs_reg.render.config import RenderConfig
from gs_reg.render.projected import Lifted, Projected, viewpoints, with_depths
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_sums_reference
from gs_reg.types import LARGEST_SCALE, Cameras, Splats

PIXELS_AT_ONCE = 4096


def project(splats: Splats, cameras: Cameras, config: RenderConfig) -> Projected:
    R, t = cameras.viewmats[:, None, :3, :3], cameras.viewmats[:, None, :3, 3]
    finite = _finite_shapes(splats)
    means, quats, scales = (_where_rows(finite, x, 1.0) for x in (splats.means, splats.quats, splats.scales))
    p = (R @ means[:, :, None])[..., 0] + t
    kept = finite & (p[..., 2] >= config.near) & (p[..., 2] <= config.far)
    if config.camera_model == "pinhole":
        kept = kept & (p[..., 2] > 0)
    p = torch.where(kept[..., None], p, torch.ones_like(p))
    means2d, J = _camera(p, cameras, config)
    axes = quat_to_rotmat(quats)
    if splats.warps is not None:
        axes = _where_rows(finite, splats.warps, 0.0) @ axes
    M = J @ R @ axes @ torch.diag_embed(scales)
    cov = M @ M.mT
    # a difference of products would lose the width of a needle
    det_raw = torch.linalg.cross(M[..., 0, :], M[..., 1, :]).square().sum(-1)
    det = det_raw + config.eps2d * (cov[..., 0, 0] + cov[..., 1, 1]) + config.eps2d**2
    cov = cov + config.eps2d * torch.eye(2, dtype=cov.dtype, device=cov.device)
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
    return Projected(
        torch.where(kept[..., None], means2d, zero),
        torch.where(kept, p[..., 2], zero),
        torch.where(kept[..., None], conics, zero),
        torch.where(kept, opacities, zero),
        torch.where(kept[..., None], radii, zero).int(),
        cameras.width,
        cameras.height,
        config,
    )


def _finite_shapes(splats: Splats) -> Tensor:
    """Rows [N] without NaN and infinity, with a quaternion that has a length, and scales within their bound."""
    lengths = splats.quats.square().sum(-1, keepdim=True)
    columns = [splats.means, splats.scales, splats.opacities[:, None], lengths]
    if splats.warps is not None:
        columns.append(splats.warps.flatten(1))
    finite = torch.isfinite(torch.cat(columns, -1)).all(-1)
    return finite & (lengths[:, 0] > 0) & (splats.scales <= LARGEST_SCALE).all(-1)


def _where_rows(good: Tensor, rows: Tensor, other: float) -> Tensor:
    """The rows [N,...] where they are good, else `other`: what is not finite would make gradients of 0 NaN."""
    return torch.where(good.reshape(-1, *[1] * (rows.ndim - 1)), rows, rows.new_tensor(other))


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


def colors_and_depths(splats: Splats, cameras: Cameras, depths: Tensor, degree: int) -> Tensor:
    centers = viewpoints(cameras, degree)
    return with_depths(sh_sums_reference(splats.sh, splats.means, centers, degree, 0.5, True), depths)


def composite(projected: Projected, channels: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor]:
    if projected.config.absgrad:
        raise ValueError("absgrad: the reference backend cannot sum absolute pixel gradients; use native")
    C, _, D = channels.shape
    size = (C, projected.height, projected.width)
    images, alphas = [], []
    for c in range(C):
        rows, chunks = _sorted_rows(projected, c), []
        rows = rows[channels[c, rows].isfinite().all(-1)]
        for weights, after in _weights(projected, c, rows):
            over = 0 if backgrounds is None else after[:, None] * backgrounds[c]
            chunks.append((torch.einsum("np,nd->pd", weights, channels[c, rows]) + over, 1 - after))
        images += [image for image, _ in chunks]
        alphas += [alpha for _, alpha in chunks]
    image = torch.cat(images) if images else channels.new_empty(0)
    alpha = torch.cat(alphas) if alphas else channels.new_empty(0)
    return image.reshape(*size, D), alpha.reshape(*size, 1)


def lift(projected: Projected, maps: Tensor) -> Lifted:
    C, N = projected.depths.shape
    sums, weights, largest = maps.new_zeros(C, N, maps.shape[-1]), maps.new_zeros(C, N), maps.new_zeros(C, N)
    for c in range(C):
        rows = _sorted_rows(projected, c)
        chunks = zip(_weights(projected, c, rows), maps[c].flatten(0, 1).split(PIXELS_AT_ONCE), strict=True)
        for (w, _), pixels in chunks:
            if w.numel():
                sums[c, rows] += w @ pixels
                weights[c, rows] += w.sum(1)
                largest[c, rows] = torch.maximum(largest[c, rows], w.amax(1))
    return Lifted(sums, weights, largest)


def _sorted_rows(projected: Projected, c: int) -> Tensor:
    """Visible splats of a camera in ascending depth as 32-bit floats, ties by index."""
    rows = (projected.radii[c] > 0).all(-1).nonzero()[:, 0]
    return rows[torch.sort(projected.depths[c, rows].detach().float(), stable=True).indices]


def _weights(projected: Projected, c: int, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights [R,P] of sorted rows in some of the pixels, and what is left of the light [P], some after the others."""
    config = projected.config
    means2d, conics, opacities = (t[c, rows] for t in (projected.means2d, projected.conics, projected.opacities))
    pixels = pixel_centers(projected.width, projected.height, means2d).reshape(-1, 2)
    for chunk in pixels.split(PIXELS_AT_ONCE):
        d = means2d[:, None] - chunk
        a, b, c_ = conics[:, None].unbind(-1)
        sigma = (0.5 * (a * d[..., 0] ** 2 + c_ * d[..., 1] ** 2) + b * d[..., 0] * d[..., 1]).clamp_min(0)
        raw = opacities[:, None] * torch.exp(-sigma)
        alpha = torch.where(raw >= config.alpha_min, raw.clamp_max(config.alpha_max), torch.zeros_like(raw))
        after = torch.cumprod(1 - alpha, dim=0)
        if config.transmittance_min > 0:
            # the product only falls, so this drops the splat that reaches the cut and every one behind it
            alpha = torch.where(after > config.transmittance_min, alpha, torch.zeros_like(alpha))
            after = torch.cumprod(1 - alpha, dim=0)
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
        yield alpha * before, after[-1] if len(after) else torch.ones_like(chunk[:, 0])
