"""The nouns of the library: splats, cameras, views, renders and scenes. Frozen: changed rows are a new value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


def _moved(value: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, Mapping):
        return {k: _moved(v, device, dtype) for k, v in value.items()}
    if isinstance(value, _Record):
        return value.to(device, dtype)
    return value


class _Record:
    """Moves every tensor of a frozen dataclass."""

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: _moved(value, device, dtype) for name, value in fields.items()})


@dataclass(frozen=True)
class Splats(_Record):
    """N anisotropic 3D Gaussians, with the parametrisation that optimisers like (logs and logits)."""

    means: Float[Tensor, "N 3"]
    quats: Float[Tensor, "N 4"]
    """w, x, y, z; need not be normalised."""
    log_scales: Float[Tensor, "N 3"]
    opacity_logits: Float[Tensor, "N"]
    sh: Float[Tensor, "N K 3"]
    """Spherical-harmonic colour, K = (degree + 1)^2; colour = 0.5 + sum_k Y_k(direction) sh_k, then clamped at 0."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors with N rows each (labels, latents, source pixel ...) that follow every structural change."""

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def scales(self) -> Float[Tensor, "N 3"]:
        """Standard deviations along the axes, in world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Float[Tensor, "N"]:
        return self.opacity_logits.sigmoid()

    @property
    def sh_degree(self) -> int:
        return round(self.sh.shape[1] ** 0.5) - 1

    def rows(self, index: Tensor | slice) -> Splats:
        """The splats at `index` (a mask, a list of rows or a slice), extras included."""
        return Splats(
            self.means[index],
            self.quats[index],
            self.log_scales[index],
            self.opacity_logits[index],
            self.sh[index],
            {name: value[index] for name, value in self.extra.items()},
        )

    def detach(self) -> Splats:
        return Splats(
            self.means.detach(),
            self.quats.detach(),
            self.log_scales.detach(),
            self.opacity_logits.detach(),
            self.sh.detach(),
            {name: value.detach() for name, value in self.extra.items()},
        )


@dataclass(frozen=True)
class Cameras(_Record):
    """C pinhole cameras of one image size. OpenCV axes: +x right, +y down, +z forward; pixel centres at +0.5."""

    viewmats: Float[Tensor, "C 4 4"]
    """World to camera."""
    Ks: Float[Tensor, "C 3 3"]
    """fx, fy, cx, cy in pixels; skew is ignored."""
    width: int
    height: int

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> Cameras:
        if isinstance(index, int):
            start = range(len(self))[index]
            index = slice(start, start + 1)
        return Cameras(self.viewmats[index], self.Ks[index], self.width, self.height)

    @property
    def world_from_camera(self) -> Float[Tensor, "C 4 4"]:
        # a singular matrix is an error, which on a GPU one would have to wait for
        on_cpu = self.viewmats.device.type == "cpu"
        return torch.linalg.inv_ex(self.viewmats, check_errors=on_cpu).inverse

    @property
    def centers(self) -> Float[Tensor, "C 3"]:
        """Camera centres in the world."""
        return self.world_from_camera[:, :3, 3]

    def resized(self, width: int, height: int) -> Cameras:
        """The same cameras for images of another size; the corner stays at 0, so K scales by the true size ratios."""
        ratio = torch.tensor(
            [width / self.width, height / self.height, 1.0], dtype=self.Ks.dtype, device=self.Ks.device
        )
        return Cameras(self.viewmats, self.Ks * ratio[:, None], width, height)


@dataclass(frozen=True)
class Views(_Record):
    """C photos of one size with their cameras and whatever is known per pixel."""

    cameras: Cameras
    images: Float[Tensor, "C H W 3"]
    """Display-referred sRGB in [0, 1]."""
    names: tuple[str, ...] = ()
    masks: Bool[Tensor, "C H W"] | None = None
    """True = the pixel counts."""
    depths: Float[Tensor, "C H W"] | None = None
    """Camera-space z; 0 or NaN = unknown."""
    layers: UInt8[Tensor, "C H W"] | None = None
    """Depth layer of every pixel, 0 the farthest."""

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, index: int | slice) -> Views:
        if isinstance(index, int):
            start = range(len(self))[index]
            index = slice(start, start + 1)
        return Views(
            self.cameras[index],
            self.images[index],
            self.names[index],
            None if self.masks is None else self.masks[index],
            None if self.depths is None else self.depths[index],
            None if self.layers is None else self.layers[index],
        )


@dataclass(frozen=True)
class Render(_Record):
    """What one call of render() draws."""

    colors: Float[Tensor, "C H W 3"]
    """Composited over the background."""
    alphas: Float[Tensor, "C H W 1"]
    """1 - transmittance."""
    depths: Float[Tensor, "C H W 1"]
    """Sum of weight times camera-space z, not divided by alpha: average pixels first, then divide."""
    features: Float[Tensor, "C H W F"] | None
    means2d: Float[Tensor, "C N 2"]
    """Projected centres in pixels; accepts retain_grad() and then carries `.grad` (densification reads it)."""
    radii: Int[Tensor, "C N 2"]
    """Half extents in pixels; 0 = culled."""

    @property
    def expected_depths(self) -> Float[Tensor, "C H W 1"]:
        """Mean camera-space z of what is seen; 0 where nothing is."""
        return self.depths / self.alphas.clamp_min(1e-10)

    @property
    def visible(self) -> Bool[Tensor, "C N"]:
        return (self.radii > 0).all(dim=-1)


@dataclass(frozen=True)
class Scene:
    """Photos to train on in one normalised world. Views may differ in size, so each is a `Views` of one."""

    views: tuple[Views, ...]
    points: Float[Tensor, "P 3"] | None
    """Sparse points of the source (COLMAP), in the world of the cameras; None when the source has none."""
    source_from_world: Float[Tensor, "4 4"]
    """Similarity (float64) from the normalised world back to the frame of the given cameras, which exports are in."""

    def __len__(self) -> int:
        return len(self.views)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for view in self.views for name in view.names)
