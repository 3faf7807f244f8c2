"""The gsplat library behind render(); CUDA only, as its kernels are. The one home of the package."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import MissingPart
from gs_reg.render.config import RenderConfig
from gs_reg.render.projected import Lifted, Projected, viewpoints, with_depths
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_colors
from gs_reg.types import Cameras, Splats

FIXED = {"alpha_min": 1 / 255, "alpha_max": 0.999, "transmittance_min": 1e-4}
PACKAGES = ("gsplat", "packaging")
"""It imports the second without declaring it."""
CHUNK, MOST_CHANNELS = 32, 513
"""Channels that gsplat takes in one pass when left alone, and at most."""
TILE = 16
"""Width and height of its tiles in pixels."""


def project(splats: Splats, cameras: Cameras, config: RenderConfig) -> Projected:
    """Projects with gsplat.fully_fused_projection.

    Raises:
        MissingPart: no CUDA tensors, gsplat is not installed, or its kernels cannot be built.
        TypeError: float64, which gsplat has no kernels for.
        ValueError: a cut-off that gsplat has built in is set to another value.
    """
    library = _library(splats.means.device)
    check(config, splats.means.dtype)
    covars = None if splats.warps is None else _covariances(splats, splats.warps)
    radii, means2d, depths, conics, compensations = library.fully_fused_projection(
        splats.means,
        covars,
        splats.quats if covars is None else None,
        splats.scales if covars is None else None,
        cameras.viewmats,
        cameras.Ks,
        cameras.width,
        cameras.height,
        near_plane=config.near,
        far_plane=config.far,
        radius_clip=config.radius_clip,
        eps2d=config.eps2d,
        calc_compensations=config.mode == "antialiased",
        camera_model=config.camera_model,
        opacities=splats.opacities,
    )
    seen = (radii > 0).all(dim=-1)  # in the other rows it leaves what was in memory
    means2d, depths, conics = (
        torch.where(seen.reshape(*seen.shape, *[1] * (t.ndim - 2)), t, torch.zeros_like(t))
        for t in (means2d, depths, conics)
    )
    opacities = splats.opacities if compensations is None else splats.opacities * compensations
    opacities = torch.where(seen, opacities, torch.zeros_like(depths))
    radii = torch.where(seen[..., None], radii, torch.zeros_like(radii))
    return Projected(means2d, depths, conics, opacities, radii, cameras.width, cameras.height, config)


def colors_and_depths(splats: Splats, cameras: Cameras, depths: Tensor, degree: int) -> Tensor:
    return with_depths(sh_colors(splats.sh, splats.means, viewpoints(cameras, degree), degree), depths)


def composite(projected: Projected, channels: Tensor, backgrounds: Tensor | None) -> tuple[Tensor, Tensor]:
    """Composites with gsplat.rasterize_to_pixels, some channels at a time as gsplat.rasterization does.

    Raises:
        ValueError: absgrad with more channels than one pass takes.
    """
    p, C = projected, len(projected.depths)
    absgrad = p.config.absgrad
    if absgrad and channels.shape[-1] > MOST_CHANNELS:
        raise ValueError(f"absgrad: gsplat sums at most {MOST_CHANNELS} channels in one pass, got {channels.shape[-1]}")
    library = _library(p.means2d.device)
    tiles_x, tiles_y = -(-p.width // TILE), -(-p.height // TILE)
    _, ids, flat = library.isect_tiles(p.means2d, p.radii, p.depths, TILE, tiles_x, tiles_y)
    offsets = library.isect_offset_encode(ids, C, tiles_x, tiles_y)
    # of the absolute gradients it keeps those of the last pass alone
    chunk = max(CHUNK, channels.shape[-1]) if absgrad else CHUNK
    parts = []
    for first in range(0, channels.shape[-1], chunk):
        some = slice(first, first + chunk)
        part = library.rasterize_to_pixels(
            p.means2d,
            p.conics,
            channels[..., some],
            p.opacities,
            p.width,
            p.height,
            TILE,
            offsets,
            flat,
            backgrounds=None if backgrounds is None else backgrounds[..., some],
            absgrad=absgrad,
        )
        parts.append(part)
    return torch.cat([image for image, _ in parts], dim=-1), parts[0][1]


def lift(projected: Projected, maps: Tensor) -> Lifted:
    raise ValueError("backend gsplat: it cannot lift; use native or reference")


def check(config: RenderConfig, dtype: torch.dtype) -> None:
    """Raises where gsplat cannot honour what is asked for."""
    if dtype != torch.float32:
        raise TypeError(f"backend gsplat: takes float32, got {dtype}; use native or reference")
    for name, value in FIXED.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"{name}: gsplat has {value:g} built in and cannot take {getattr(config, name):g}; use native"
            )


def strategies() -> tuple[type, type]:
    """gsplat's DefaultStrategy and MCMCStrategy; the first needs none of its kernels.

    Raises:
        MissingPart: gsplat is not installed.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingPart(f"densify: {package} is not installed; pip install 'gs-reg[gsplat]'")
    from gsplat import DefaultStrategy, MCMCStrategy  # pyright: ignore[reportAttributeAccessIssue]

    return DefaultStrategy, MCMCStrategy


def missing() -> tuple[str, str] | None:
    """Why gsplat cannot draw here, and the remedy; None where nothing stands against it.

    Looks without importing it: touching its backend starts a build of minutes, or fails with an error about something
    else where torch has no CUDA.
    """
    if torch.version.cuda is None:
        return "torch is a CPU build", "pip install torch with CUDA"
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed", "pip install 'gs-reg[gsplat]'"
    if not (_has_kernels() or _nvcc()):
        return (
            "gsplat holds no kernels and nvcc is not found",
            "install the CUDA toolkit, to build them",
        )
    return None


def _has_kernels() -> bool:
    spec = importlib.util.find_spec("gsplat")
    folders = spec.submodule_search_locations if spec else None
    return any(any(Path(folder).glob("csrc*.so")) for folder in folders or ())


def _nvcc() -> bool:
    home = os.environ.get("CUDA_HOME")
    return shutil.which("nvcc") is not None or (home is not None and Path(home, "bin", "nvcc").exists())


def _library(device: torch.device):
    """The package, once it can draw."""
    if device.type != "cuda":
        raise MissingPart(
            "backend gsplat: needs tensors on a CUDA device, and these are on the CPU; use backend native"
        )
    if why := missing():
        raise MissingPart(f"backend gsplat: {why[0]}; {why[1]}")
    try:
        import gsplat
        from gsplat.cuda import _backend  # pyright: ignore[reportMissingImports]: builds the kernels where it must

        built = getattr(_backend, "_C", None) is not None
    except Exception as error:  # a failed build surfaces as nearly anything
        raise MissingPart(f"backend gsplat: its kernels cannot be built or loaded: {error}") from None
    if not built:
        raise MissingPart("backend gsplat: its kernels cannot be built: it finds no CUDA toolkit (nvcc)")
    return gsplat


def _covariances(splats: Splats, warps: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """(W R S)(W R S)^T"""
    M = warps @ quat_to_rotmat(splats.quats) * splats.scales[:, None]
    return M @ M.mT
