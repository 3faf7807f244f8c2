"""One Gaussian for every pixel of every training photo, bound to that pixel's viewing ray (CoherentGS)."""

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
    """Every n-th row and column of a photo carries a Gaussian, of n times the size."""
    max_gaussians: int = 2_000_000
    """The stride grows until there are no more than these."""
    depth_range: float = 0.5
    """Depth may change by at most a factor e to this power."""
    sh_degree: int = 0
    """Highest degree of view-dependent colour."""
    lr_depth: float = 2e-3
    """Step of the log-depth residual."""
    lr_color: float = 5e-3
    """Step of the colour coefficient of degree 0; higher degrees step at a twentieth."""
    lr_opacity: float = 2e-2
    """Step of the opacity logit."""
    lr_scale: float = 2e-3
    """Step of the log-scales."""


def base_opacity(views: int) -> float:
    """Opacity at which N layers over one another let 15 % through."""
    return 1 - 0.15 ** (1 / views)


class PixelAligned(nn.Module):
    """Means are origin + depth * ray with depth = start * exp(range * tanh(residual)), so depth stays positive."""

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
        """A Gaussian for every pixel that no mask leaves out, at the given depth and in the pixel's colour.

        `spreads` are the standard deviations of the log-depths, 1 where not given.
        """
        spreads = spreads or [torch.ones_like(depth) for depth in depths]
        stride = stride_of(views, config)
        rows = [_rows(*known, config, stride) for known in zip(views, depths, spreads, strict=True)]
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
        """With more rows for made-up splats, flagged `filled`; their rays start at the first row's camera."""
        count = len(splats)
        more = {
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
        own = self.state_dict()
        return PixelAligned({name: torch.cat([own[name], more[name]]) for name in own}, self.config)

    def depths(self) -> Float[Tensor, "N"]:
        """Camera-space z of every Gaussian in its own photo."""
        return self.start * torch.exp(self.config.depth_range * torch.tanh(self.residual))

    def depth_residuals(self) -> Float[Tensor, "N"]:
        """Log of the depth over the measured one, in standard deviations of the measurement."""
        return (self.depths().log() - self.start.log()) / self.spread

    def depths_of(self, splats: Splats) -> Float[Tensor, "N"]:
        """Camera-space z of this model's splats in their own photos."""
        return ((splats.means - self.origins) * self.rays).sum(-1) / self.rays.square().sum(-1)

    def forward(self, views: Views | None = None) -> Splats:
        """The splats; the same for every view."""
        return self.placed(self.residual, self.opacity_logits)

    def canonical(self) -> Splats:
        return self()

    def placed(self, residual: Float[Tensor, "N"], opacity_logits: Float[Tensor, "N"]) -> Splats:
        """The splats for residuals and opacities from elsewhere."""
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
        reach = self.config.depth_range
        if _ops.is_native(residual):
            return _ops.along_rays(residual, self.log_start, self.origins, self.rays, self.log_sizes, reach)
        depth = self.start * torch.exp(reach * torch.tanh(residual))
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
    """Rows and columns from one Gaussian to the next."""
    pixels = sum(view.cameras.width * view.cameras.height for view in views)
    return max(config.stride, math.ceil(math.sqrt(pixels / config.max_gaussians)))


def pixel_grid(view: Views, stride: int) -> Bool[Tensor, "H W"]:
    """The pixels of one view that carry a Gaussian."""
    keep = torch.zeros(view.photos.shape[1:3], dtype=torch.bool)
    keep[stride // 2 :: stride, stride // 2 :: stride] = True
    return keep if view.masks is None else keep & view.masks[0]


def _rows(
    view: Views, depth: Float[Tensor, "H W"], spread: Float[Tensor, "H W"], config: PixelAlignedConfig, stride: int
) -> dict[str, Tensor]:
    """The tensors that differ from pixel to pixel, for the pixels of one view that carry a Gaussian."""
    keep = pixel_grid(view, stride)
    origin, ray = world_rays(view.cameras)
    focal = (view.cameras.Ks[0, 0, 0] + view.cameras.Ks[0, 1, 1]) / 2
    count = int(keep.sum())
    return {
        "origins": origin.float().expand(count, 3),
        "rays": ray[0][keep].float(),
        "start": depth[keep].float(),
        "spread": spread[keep].float(),
        "log_sizes": torch.full((count, 3), float(torch.log(config.sigma_pixels * stride / focal))),
        "dc": rgb_to_sh(view.photos[0][keep].float())[:, None],
    }


def world_rays(cameras: Cameras) -> tuple[Float[Tensor, "C 3"], Float[Tensor, "C H W 3"]]:
    """Camera centres, and world directions that reach camera-space z = 1."""
    rotation = cameras.world_from_camera[:, None, None, :3, :3]
    return cameras.centers, (rotation @ camera_rays(cameras)[..., None])[..., 0]
