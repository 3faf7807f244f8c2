"""One Gaussian for every pixel of every training photo, which stays on that pixel's ray (CoherentGS)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gs_reg import _ops
from gs_reg.geometry import camera_rays
from gs_reg.optim import ParameterGroup
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats, Views


@dataclass(frozen=True)
class PixelAlignedConfig:
    sigma_pixels: float = 0.6
    """Standard deviation of a Gaussian in pixels of its own photo."""
    stride: int = 1
    """Only every n-th row and column of a photo has Gaussians; they are n times as large."""
    max_gaussians: int = 2_000_000
    """The stride is raised until there are at most this many Gaussians."""
    depth_range: float = 0.5
    """Depth changes by at most a factor of exp(depth_range), up or down."""
    sh_degree: int = 0
    """Highest degree of view-dependent colour."""
    lr_depth: float = 2e-3
    """Learning rate of the depth residuals."""
    lr_color: float = 5e-3
    """Learning rate of the SH coefficients of degree 0; higher degrees have a twentieth of it."""
    lr_opacity: float = 2e-2
    """Learning rate of the opacity logits."""
    lr_scale: float = 2e-3
    """Learning rate of the log-sizes."""


def base_opacity(views: int) -> float:
    """Initial opacity: where the Gaussians of all photos lie over one another, the transmittance is 15 %."""
    return 1 - 0.15 ** (1 / views)


class PixelAligned(nn.Module):
    """Means are origin + depth * ray, with depth = start * exp(depth_range * tanh(residual)): always positive.

    `start` is the initial depth, `spread` the standard deviation of its logarithm. `log_sizes` are log-scales at depth
    1, so a Gaussian keeps its size in pixels as its depth changes. `filled` flags Gaussians that no photo shows.
    """

    def __init__(self, tensors: dict[str, Tensor], config: PixelAlignedConfig):
        """From the tensors of a state dict; see `from_views` for a fresh one."""
        super().__init__()
        self.config = config
        self.origins: Tensor
        self.rays: Tensor
        self.start: Tensor
        self.quats: Tensor
        self.spread: Tensor
        self.filled: Tensor
        for name in ("origins", "rays", "start", "spread", "quats", "filled"):
            self.register_buffer(name, tensors[name])
        self.log_start: Tensor
        self.register_buffer("log_start", self.start.log(), persistent=False)
        self.residual = nn.Parameter(tensors["residual"])
        self.opacity_logits = nn.Parameter(tensors["opacity_logits"])
        self.log_sizes = nn.Parameter(tensors["log_sizes"])
        self.dc = nn.Parameter(tensors["dc"])
        self.sh_rest = nn.Parameter(tensors["sh_rest"])

    @classmethod
    def from_views(
        cls,
        views: Sequence[Views],
        depths: Sequence[Float[Tensor, "_ _"]],
        config: PixelAlignedConfig,
        spreads: Sequence[Float[Tensor, "_ _"]] | None = None,
    ) -> PixelAligned:
        """One Gaussian for every pixel inside the masks, at the given camera-space z and in the pixel's colour.

        `spreads` are the standard deviations of the log-depths, 1 where not given.
        """
        spreads = spreads or [torch.ones_like(depth) for depth in depths]
        stride = stride_of(views, config)
        rows = [_rows(*maps, config, stride) for maps in zip(views, depths, spreads, strict=True)]
        tensors = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        N, K = len(tensors["start"]), (config.sh_degree + 1) ** 2
        return cls(
            tensors
            | {
                "quats": torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(N, 1),
                "filled": torch.zeros(N, dtype=torch.bool),
                "residual": torch.zeros(N),
                "opacity_logits": torch.full((N,), base_opacity(len(views))).logit(),
                "sh_rest": torch.zeros(N, K - 1, 3),
            },
            config,
        )

    def extended(self, splats: Splats) -> PixelAligned:
        """The model with rows for filled splats added.

        They belong to no photo: their rays start at the camera of the first row and reach them at depth 1.
        """
        count = len(splats)
        added = {
            "origins": self.origins[:1].expand(count, 3),
            "rays": splats.means - self.origins[:1],
            "start": torch.ones(count),
            "spread": torch.ones(count),
            "quats": splats.quats,
            "filled": torch.ones(count, dtype=torch.bool),
            "residual": torch.zeros(count),
            "opacity_logits": splats.opacity_logits,
            "log_sizes": splats.log_scales,
            "dc": splats.sh[:, :1],
            "sh_rest": splats.sh[:, 1:],
        }
        state = self.state_dict()
        return PixelAligned({name: torch.cat([state[name], added[name]]) for name in state}, self.config)

    def depths(self) -> Float[Tensor, "N"]:
        """Camera-space z of every Gaussian in its own photo."""
        return self.start * torch.exp(self.config.depth_range * torch.tanh(self.residual))

    def depth_residuals(self) -> Float[Tensor, "N"]:
        """log(depth / initial depth) in standard deviations of the measurement."""
        return (self.depths().log() - self.start.log()) / self.spread

    def depths_of(self, splats: Splats) -> Float[Tensor, "N"]:
        """Camera-space z of this model's splats, each in the photo it came from."""
        return ((splats.means - self.origins) * self.rays).sum(-1) / self.rays.square().sum(-1)

    def forward(self, views: Views | None = None) -> Splats:
        """The splats; the same for every view."""
        return self.splats_at(self.residual, self.opacity_logits)

    def canonical(self) -> Splats:
        return self()

    def splats_at(self, residual: Float[Tensor, "N"], opacity_logits: Float[Tensor, "N"]) -> Splats:
        """The splats at other depth residuals and opacity logits than the model's own parameters."""
        means, log_scales = self._on_rays(residual)
        return Splats(
            means=means,
            quats=self.quats,
            log_scales=log_scales,
            opacity_logits=opacity_logits,
            sh=torch.cat([self.dc, self.sh_rest], dim=1) if self.sh_rest.numel() else self.dc,
            extra={"filled": self.filled},
        )

    def _on_rays(self, residual: Float[Tensor, "N"]) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
        """Means, and log-scales that keep their size in pixels as the depth changes."""
        depth_range = self.config.depth_range
        if _ops.is_native(residual):
            return _ops.along_rays(residual, self.log_start, self.origins, self.rays, self.log_sizes, depth_range)
        depth = self.start * torch.exp(depth_range * torch.tanh(residual))
        return self.origins + depth[:, None] * self.rays, self.log_sizes + depth.log()[:, None]

    def parameter_groups(self) -> list[ParameterGroup]:
        c = self.config
        rates = {
            "residual": (self.residual, c.lr_depth),
            "opacity_logits": (self.opacity_logits, c.lr_opacity),
            "log_sizes": (self.log_sizes, c.lr_scale),
            "dc": (self.dc, c.lr_color),
            "sh_rest": (self.sh_rest, c.lr_color / 20),
        }
        return [ParameterGroup(name, [p], lr, axis="gaussians") for name, (p, lr) in rates.items() if p.numel()]


def stride_of(views: Sequence[Views], config: PixelAlignedConfig) -> int:
    """The configured stride, or the smallest larger one that respects `max_gaussians`."""
    pixels = sum(view.cameras.width * view.cameras.height for view in views)
    return max(config.stride, math.ceil(math.sqrt(pixels / config.max_gaussians)))


def pixel_grid(view: Views, stride: int) -> Bool[Tensor, "H W"]:
    """Mask of the pixels of one view that get a Gaussian."""
    mask = torch.zeros(view.photos.shape[1:3], dtype=torch.bool)
    mask[stride // 2 :: stride, stride // 2 :: stride] = True
    return mask if view.masks is None else mask & view.masks[0]


def _rows(
    view: Views, depth: Float[Tensor, "H W"], spread: Float[Tensor, "H W"], config: PixelAlignedConfig, stride: int
) -> dict[str, Tensor]:
    """Those tensors of the state dict that differ from pixel to pixel, for the pixels of one view."""
    mask = pixel_grid(view, stride)
    origin, ray = world_rays(view.cameras)
    focal = (view.cameras.Ks[0, 0, 0] + view.cameras.Ks[0, 1, 1]) / 2
    count = int(mask.sum())
    return {
        "origins": origin.float().expand(count, 3),
        "rays": ray[0][mask].float(),
        "start": depth[mask].float(),
        "spread": spread[mask].float(),
        "log_sizes": torch.full((count, 3), float(torch.log(config.sigma_pixels * stride / focal))),
        "dc": rgb_to_sh(view.photos[0][mask].float())[:, None],
    }


def world_rays(cameras: Cameras) -> tuple[Float[Tensor, "C 3"], Float[Tensor, "C H W 3"]]:
    """Camera centres, and ray directions in the world, scaled so that ray times depth ends at that camera-space z."""
    rotation = cameras.world_from_camera[:, None, None, :3, :3]
    return cameras.centers, (rotation @ camera_rays(cameras)[..., None])[..., 0]
