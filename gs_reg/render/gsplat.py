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
from gs_reg.render.native import stack_channels, unstack_channels, viewpoints
from gs_reg.rotations import quat_to_rotmat
from gs_reg.sh import sh_colors
from gs_reg.types import Cameras, Render, Splats

FIXED = {"alpha_min": 1 / 255, "alpha_max": 0.999, "transmittance_min": 1e-4}
PACKAGES = ("gsplat", "packaging")
"""It imports the second without declaring it."""
CHUNK, MOST_CHANNELS = 32, 513
"""Channels that gsplat takes in one pass when left alone, and at most."""


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
        MissingPart: no CUDA tensors, gsplat is not installed, or its kernels cannot be built.
        TypeError: float64, which gsplat has no kernels for.
        ValueError: a cut-off that gsplat has built in is set to another value; absgrad with too many channels.
    """
    rasterization = _rasterization(splats.means.device)
    channels = 4 + (0 if features is None else features.shape[-1])
    check(config, splats.means.dtype, channels)
    depths = _camera_depths(splats, cameras)
    colors = sh_colors(splats.sh, splats.means, viewpoints(cameras, degree), degree)
    stacked = stack_channels(colors, depths, features)
    padded = None if backgrounds is None else torch.nn.functional.pad(backgrounds, (0, channels - 3))
    covars = None if splats.warps is None else _covariances(splats, splats.warps)
    image, alphas, meta = rasterization(
        splats.means,
        # beside covars it wants these absent, whatever its annotations say
        splats.quats if covars is None else None,  # pyright: ignore[reportArgumentType]
        splats.scales if covars is None else None,  # pyright: ignore[reportArgumentType]
        splats.opacities,
        stacked,
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
        # of the absolute gradients it keeps those of the last pass alone
        channel_chunk=max(CHUNK, channels) if config.absgrad else CHUNK,
        camera_model=config.camera_model,
        covars=covars,
    )
    return unstack_channels(image, alphas[..., 0], meta["means2d"], meta["radii"], features is not None)


def check(config: RenderConfig, dtype: torch.dtype, channels: int) -> None:
    """Raises where gsplat cannot honour what is asked for."""
    if dtype != torch.float32:
        raise TypeError(f"backend gsplat: takes float32, got {dtype}; use native or reference")
    for name, value in FIXED.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"{name}: gsplat has {value:g} built in and cannot take {getattr(config, name):g}; use native"
            )
    if config.absgrad and channels > MOST_CHANNELS:
        raise ValueError(f"absgrad: gsplat sums at most {MOST_CHANNELS} channels in one pass, got {channels}")


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


def _rasterization(device: torch.device):
    if device.type != "cuda":
        raise MissingPart(
            "backend gsplat: needs tensors on a CUDA device, and these are on the CPU; use backend native"
        )
    if why := missing():
        raise MissingPart(f"backend gsplat: {why[0]}; {why[1]}")
    try:
        from gsplat import rasterization  # pyright: ignore[reportAttributeAccessIssue]: it takes this very file for it
        from gsplat.cuda import _backend  # pyright: ignore[reportMissingImports]: builds the kernels where it must

        built = getattr(_backend, "_C", None) is not None
    except Exception as error:  # a failed build surfaces as nearly anything
        raise MissingPart(f"backend gsplat: its kernels cannot be built or loaded: {error}") from None
    if not built:
        raise MissingPart("backend gsplat: its kernels cannot be built: it finds no CUDA toolkit (nvcc)")
    return rasterization


def _covariances(splats: Splats, warps: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """(W R S)(W R S)^T"""
    M = warps @ quat_to_rotmat(splats.quats) * splats.scales[:, None]
    return M @ M.mT


def _camera_depths(splats: Splats, cameras: Cameras) -> Tensor:
    rows = cameras.viewmats[:, 2]
    return torch.einsum("nj,cj->cn", splats.means, rows[:, :3]) + rows[:, 3:]
