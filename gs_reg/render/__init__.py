"""render(): splats and cameras in, pictures out, behind three backends of the same meaning (gsplat 1.5.3's)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg import _proof
from gs_reg.render.config import RenderConfig
from gs_reg.sh import check_degree
from gs_reg.types import Cameras, Render, Splats

__all__ = ["RenderConfig", "pooled", "render"]


def render(
    splats: Splats,
    cameras: Cameras,
    config: RenderConfig | None = None,
    *,
    features: Float[Tensor, "N F"] | None = None,
    backgrounds: Float[Tensor, "C 3"] | None = None,
) -> Render:
    """Draws splats into cameras, differentiable in every float tensor but the intrinsics.

    `features` are F more channels a splat, blended like colour over a background of 0.

    Raises:
        TypeError: mixed or unsupported dtypes, or tensors on several devices.
        ValueError: wrong shapes; an orthographic or clipped setting that the backend cannot honour.
        MissingPart: the gsplat backend where there is no CUDA or no gsplat.
    """
    config = config or RenderConfig()
    if (factor := config.supersample) > 1:
        finer = cameras.resized(factor * cameras.width, factor * cameras.height)
        whole = replace(config, supersample=1)
        return pooled(render(splats, finer, whole, features=features, backgrounds=backgrounds), factor)
    _check(splats, cameras, features, backgrounds)
    degree = splats.sh_degree if config.sh_degree is None else config.sh_degree
    check_degree(splats.sh, degree)
    return _backend(config, splats.means.device)(splats, cameras, config, degree, features, backgrounds)


def pooled(image: Render, factor: int) -> Render:
    """Means over squares of `factor` pixels; means2d and radii stay in the finer picture's pixels."""

    def mean(pixels: Float[Tensor, "C H W D"]) -> Float[Tensor, "C h w D"]:
        return F.avg_pool2d(pixels.movedim(-1, 1), factor).movedim(1, -1)

    features = None if image.features is None else mean(image.features)
    colors, alphas, depths = mean(image.colors), mean(image.alphas), mean(image.depths)
    return Render(colors, alphas, depths, features, image.means2d, image.radii)


def _backend(config: RenderConfig, device: torch.device):
    name = config.backend
    if name == "auto":
        name = "native" if device.type == "cpu" or _proof.doubt_here() is None else "gsplat"
    if name == "native":
        from gs_reg.render.native import draw
    elif name == "gsplat":
        from gs_reg.render.gsplat import draw
    else:
        from gs_reg.render.reference import draw
    return draw


def _check(splats: Splats, cameras: Cameras, features: Tensor | None, backgrounds: Tensor | None) -> None:
    N, C = len(splats), len(cameras)
    expected = {
        "means": (splats.means, (N, 3)),
        "quats": (splats.quats, (N, 4)),
        "log_scales": (splats.log_scales, (N, 3)),
        "opacity_logits": (splats.opacity_logits, (N,)),
        "sh": (splats.sh, (N, splats.sh.shape[1] if splats.sh.ndim == 3 else "K", 3)),
        "viewmats": (cameras.viewmats, (C, 4, 4)),
        "Ks": (cameras.Ks, (C, 3, 3)),
    }
    if splats.warps is not None:
        expected["warps"] = (splats.warps, (N, 3, 3))
    if features is not None:
        expected["features"] = (features, (N, features.shape[-1]))
    if backgrounds is not None:
        expected["backgrounds"] = (backgrounds, (C, 3))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: expected [{', '.join(map(str, shape))}], got {list(tensor.shape)}")
        if tensor.dtype not in (torch.float32, torch.float64) or tensor.dtype != splats.means.dtype:
            raise TypeError(f"{name}: expected the dtype of means, float32 or float64, got {tensor.dtype}")
        if tensor.device != splats.means.device:
            raise TypeError(f"{name}: expected it on {splats.means.device} like means, got {tensor.device}")
    if splats.means.device.type != "cpu":
        return  # to look would be to wait for the GPU; cameras without a meaning then show nothing
    if not (torch.isfinite(cameras.viewmats).all() and torch.isfinite(cameras.Ks).all()):
        raise ValueError("cameras: a viewmat or K is not finite")
    if C and not (cameras.Ks[:, [0, 1], [0, 1]] != 0).all():
        raise ValueError("Ks: fx or fy is 0")
