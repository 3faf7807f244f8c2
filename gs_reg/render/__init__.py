"""render(): splats and cameras in, pictures out, behind three backends of the same meaning (gsplat 1.5.3's).

Its steps stand alone too: project() once, then composite() any channels, or lift() maps back to the splats.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg import _proof
from gs_reg._callable import make_callable
from gs_reg.render.config import Backend, RenderConfig
from gs_reg.render.projected import Lifted, Projected, with_depths
from gs_reg.sh import check_degree
from gs_reg.types import Cameras, Render, Splats

__all__ = ["Backend", "Lifted", "Projected", "RenderConfig", "composite", "lift", "pooled", "project", "render"]

MAX_IMAGE_SIDE = 1 << 20
"""Pixels, as in cuda/include/gsr/checks.h."""


def render(
    splats: Splats,
    cameras: Cameras,
    config: RenderConfig | None = None,
    *,
    features: Float[Tensor, "N F"] | Float[Tensor, "C N F"] | None = None,
    backgrounds: Float[Tensor, "C 3"] | None = None,
) -> Render:
    """Renders splats into cameras, differentiable in every float tensor but the intrinsics.

    Colours are `splats.colors` where given, as they are; else those of `splats.sh`. `features` are F more channels a
    splat, or a splat and camera, blended like colour over a background of 0.

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
    projected = _project(splats, cameras, config)
    if splats.colors is None:
        degree = splats.sh_degree if config.sh_degree is None else config.sh_degree
        check_degree(splats.sh, degree)
        channels = _backend(projected.config).colors_and_depths(splats, cameras, projected.depths, degree)
    else:
        channels = with_depths(splats.colors, projected.depths)
    if features is not None:
        channels = torch.cat([channels, features.expand(len(cameras), -1, -1)], dim=-1)
    padded = None if backgrounds is None else F.pad(backgrounds, (0, channels.shape[-1] - 3))
    image, alphas = _backend(projected.config).composite(projected, channels, padded)
    return Render(
        colors=image[..., :3],
        alphas=alphas,
        depths=image[..., 3:4],
        features=None if features is None else image[..., 4:],
        means2d=projected.means2d,
        radii=projected.radii,
    )


def project(splats: Splats, cameras: Cameras, config: RenderConfig | None = None) -> Projected:
    """Where the splats lie in the cameras' images, and in what shape; differentiable as render() is.

    Raises:
        TypeError, ValueError, MissingPart: as render(); supersample, which is render()'s alone.
    """
    config = config or RenderConfig()
    if config.supersample != 1:
        raise ValueError(f"supersample: expected 1, got {config.supersample}; project into cameras.resized() instead")
    _check(splats, cameras, None, None)
    return _project(splats, cameras, config)


def composite(
    projected: Projected, channels: Float[Tensor, "C N D"], backgrounds: Float[Tensor, "C D"] | None = None
) -> tuple[Float[Tensor, "C H W D"], Float[Tensor, "C H W 1"]]:
    """Blends D channels of each splat and camera front to back; the image over the backgrounds, and the alphas.

    Raises:
        TypeError, ValueError: wrong dtypes or shapes, or a setting that the backend cannot honour.
    """
    (C, N), D = projected.depths.shape, channels.shape[-1]
    expected: dict[str, tuple[Tensor, tuple]] = {"channels": (channels, (C, N, D))}
    if backgrounds is not None:
        expected["backgrounds"] = (backgrounds, (C, D))
    _check_tensors(expected, "means2d", projected.means2d)
    return _backend(projected.config).composite(projected, channels, backgrounds)


@torch.no_grad()
def lift(projected: Projected, maps: Float[Tensor, "C H W D"]) -> Lifted:
    """Sums of maps over each splat's pixels, by the weights with which it would be blended: the adjoint of composite().

    No image is drawn, and no gradient is carried. What a camera does not see of the splats gets 0.

    Raises:
        TypeError, ValueError: wrong dtypes or shapes; backend gsplat, which cannot lift.
    """
    C, D = len(projected.depths), maps.shape[-1]
    _check_tensors({"maps": (maps, (C, projected.height, projected.width, D))}, "means2d", projected.means2d)
    return _backend(projected.config).lift(projected, maps)


def pooled(image: Render, factor: int) -> Render:
    """Means over squares of `factor` pixels; means2d and radii stay in the finer picture's pixels."""

    def mean(pixels: Float[Tensor, "C H W D"]) -> Float[Tensor, "C h w D"]:
        return F.avg_pool2d(pixels.movedim(-1, 1), factor).movedim(1, -1)

    features = None if image.features is None else mean(image.features)
    colors, alphas, depths = mean(image.colors), mean(image.alphas), mean(image.depths)
    return Render(colors, alphas, depths, features, image.means2d, image.radii)


def _project(splats: Splats, cameras: Cameras, config: RenderConfig) -> Projected:
    config = replace(config, backend=_backend_name(config, splats.means.device))
    return _backend(config).project(splats, cameras, config)


def _backend_name(config: RenderConfig, device: torch.device) -> str:
    if config.backend != "auto":
        return config.backend
    return "native" if device.type == "cpu" or _proof.doubt_here() is None else "gsplat"


def _backend(config: RenderConfig) -> ModuleType:
    """Modules with project(), colors_and_depths(), composite() and lift(); only the one in use is loaded."""
    if config.backend == "native":
        from gs_reg.render import native as backend
    elif config.backend == "gsplat":
        from gs_reg.render import gsplat as backend
    else:
        from gs_reg.render import reference as backend
    return backend


def _check(splats: Splats, cameras: Cameras, features: Tensor | None, backgrounds: Tensor | None) -> None:
    N, C = len(splats), len(cameras)
    for name, size in (("width", cameras.width), ("height", cameras.height)):
        if not 0 <= size <= MAX_IMAGE_SIDE:
            raise ValueError(f"{name}: expected 0 to {MAX_IMAGE_SIDE} pixels, got {size}")
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
    if splats.colors is not None:
        expected["colors"] = (splats.colors, (C, N, 3))
    if features is not None:
        of_view = (C,) if features.ndim == 3 else ()
        expected["features"] = (features, (*of_view, N, features.shape[-1] if features.ndim else "F"))
    if backgrounds is not None:
        expected["backgrounds"] = (backgrounds, (C, 3))
    _check_tensors(expected, "means", splats.means)
    if splats.means.device.type != "cpu":
        return  # to look would be to wait for the GPU; cameras without a meaning then show nothing
    if not (torch.isfinite(cameras.viewmats).all() and torch.isfinite(cameras.Ks).all()):
        raise ValueError("cameras: a viewmat or K is not finite")
    if C and not (cameras.Ks[:, [0, 1], [0, 1]] != 0).all():
        raise ValueError("Ks: fx or fy is 0")


def _check_tensors(expected: dict[str, tuple[Tensor, tuple]], like_name: str, like: Tensor) -> None:
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name}: expected [{', '.join(map(str, shape))}], got {list(tensor.shape)}")
        if tensor.dtype not in (torch.float32, torch.float64) or tensor.dtype != like.dtype:
            raise TypeError(f"{name}: expected the dtype of {like_name}, float32 or float64, got {tensor.dtype}")
        if tensor.device != like.device:
            raise TypeError(f"{name}: expected it on {like.device} like {like_name}, got {tensor.device}")


make_callable(render)
