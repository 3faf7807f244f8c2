"""The data types of the library: splats, cameras, views, renders and scenes. All are frozen dataclasses of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from gs_reg.cameras import Cameras
from gs_reg.tensor_dataclass import TensorDataclass, concatenate

__all__ = ["Cameras", "Render", "Scene", "Splats", "Views"]

LARGEST_SCALE = 1e30
"""Of a splat that is drawn, as in cuda/include/gsr/rows.h: beyond it a float has no room for what follows."""
SATURATED = 80.0
"""From here on a log-scale is beyond LARGEST_SCALE, and a logit an opacity of 1; e to it still fits into a float."""


@dataclass(frozen=True)
class Splats(TensorDataclass):
    """N anisotropic 3D Gaussians, as optimisers see them: log-scales and opacity logits."""

    means: Float[Tensor, "N 3"]
    quats: Float[Tensor, "N 4"]
    """w, x, y, z; need not be normalised."""
    log_scales: Float[Tensor, "N 3"]
    opacity_logits: Float[Tensor, "N"]
    sh: Float[Tensor, "N K 3"]
    """Spherical-harmonic colour, K = (degree + 1)^2; colour = 0.5 + sum_k Y_k(direction) sh_k, then clamped at 0."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors with N rows each (labels, latents, source pixel ...); structural changes apply to them too."""
    warps: Float[Tensor, "N 3 3"] | None = None
    """Linear maps W such that the covariance is (W R S)(W R S)^T, for example the Jacobian of a deformation field."""
    colors: Float[Tensor, "C N 3"] | None = None
    """Colour seen by each of C cameras; used instead of `sh`."""

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def scales(self) -> Float[Tensor, "N 3"]:
        """Standard deviations along the principal axes, in world units; never infinite, or gradients of 0 were NaN."""
        return self.log_scales.clamp_max(SATURATED).exp()

    @property
    def opacities(self) -> Float[Tensor, "N"]:
        return self.opacity_logits.clamp_max(SATURATED).sigmoid()  # the bound gives NaN a gradient of 0

    @property
    def finite(self) -> Bool[Tensor, "N"]:
        """False for rows that are not drawn wherever they lie: NaN or infinity among their numbers, a quaternion of
        length 0, or a scale above LARGEST_SCALE."""
        columns = [self.means, self.quats, self.quats.square().sum(1, keepdim=True), self.scales]
        columns += [self.opacities[:, None], (self.sh if self.colors is None else self.colors.movedim(1, 0)).flatten(1)]
        columns += [] if self.warps is None else [self.warps.flatten(1)]
        good = torch.stack([column.isfinite().all(1) for column in columns]).all(0)
        return good & self.quats.any(1) & (self.scales <= LARGEST_SCALE).all(1)

    @property
    def sh_degree(self) -> int:
        return round(self.sh.shape[1] ** 0.5) - 1

    def rows(self, index: Tensor | slice) -> Splats:
        """The splats at `index` (a mask, a list of rows or a slice), extras included."""

        def select(name: str, value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: tensor[index] for key, tensor in value.items()}
            if value is None:
                return None
            return value[:, index] if name == "colors" else value[index]

        return Splats(**{name: select(name, value) for name, value in self.fields().items()})

    @staticmethod
    def joined(parts: Sequence[Splats]) -> Splats:
        """The rows of all parts, one after the other.

        Raises:
            ValueError: no part, or a field or an extra that some parts have and others have not, or that differs in
                its type or in more than its rows, such as `sh` of another degree.
        """
        if not parts:
            raise ValueError("splats: expected at least one part to join, got none")
        names = [f.name for f in dataclasses.fields(Splats)]
        values = {name: [getattr(part, name) for part in parts] for name in names}
        return Splats(**{name: concatenate(v, name, dim=int(name == "colors")) for name, v in values.items()})


@dataclass(frozen=True)
class Views(TensorDataclass):
    """C cameras of one image size, with their images, where there are any, and other maps per pixel."""

    cameras: Cameras
    images: Float[Tensor, "C H W 3"] | None = None
    """Display-referred sRGB in [0, 1]."""
    names: tuple[str, ...] = ()
    masks: Bool[Tensor, "C H W"] | None = None
    """True = the pixel is used."""
    depths: Float[Tensor, "C H W"] | None = None
    """Camera-space z; 0 or NaN = unknown."""
    layers: UInt8[Tensor, "C H W"] | None = None
    """Depth layer of every pixel, 0 the farthest."""
    alphas: Float[Tensor, "C H W"] | None = None
    """Alpha matte of the foreground, 0 to 1."""
    frame: int | None = None
    """Index of the frame (time, expression) that all these views show; None = a static scene."""

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def photos(self) -> Float[Tensor, "C H W 3"]:
        """`images`, for code that needs them.

        Raises:
            ValueError: the views have no images.
        """
        if self.images is None:
            raise ValueError(f"views {', '.join(self.names) or '(no names)'}: expected images, got cameras alone")
        return self.images

    def __getitem__(self, index: int | slice) -> Views:
        if isinstance(index, int):
            start = range(len(self))[index]
            index = slice(start, start + 1)
        known = {name: value for name, value in self.fields().items() if value is not None and name != "frame"}
        return dataclasses.replace(self, **{name: value[index] for name, value in known.items()})

    @staticmethod
    def stack(parts: Sequence[Views]) -> Views:
        """Views of one image size and one frame as a single batch, which one call renders.

        Raises:
            ValueError: sizes or frames differ, or a field that some parts have and others have not.
        """
        frames = {part.frame for part in parts}
        if len(frames) != 1:
            raise ValueError(f"views: expected one frame, got {sorted(frames, key=str)}")
        if len({bool(part.names) for part in parts}) > 1:
            raise ValueError("names: some parts have them and some do not")
        maps = ("images", "masks", "depths", "layers", "alphas")
        return Views(
            Cameras.joined([part.cameras for part in parts]),
            names=tuple(name for part in parts for name in part.names),
            frame=frames.pop(),
            **{name: concatenate([getattr(part, name) for part in parts], name) for name in maps},
        )


@dataclass(frozen=True)
class Render(TensorDataclass):
    """The output of one call of render()."""

    colors: Float[Tensor, "C H W 3"]
    """Composited over the background."""
    alphas: Float[Tensor, "C H W 1"]
    """1 - transmittance."""
    depths: Float[Tensor, "C H W 1"]
    """Accumulated depth: the sum of weight times camera-space z, not divided by alpha.

    Where pixels are averaged (supersampling), average depths and alphas first, then divide.
    """
    features: Float[Tensor, "C H W F"] | None
    means2d: Float[Tensor, "C N 2"]
    """Projected centres in pixels; after retain_grad() it carries `.grad`, which densification reads."""
    radii: Int[Tensor, "C N 2"]
    """Half extents in pixels; 0 = culled."""

    @property
    def expected_depths(self) -> Float[Tensor, "C H W 1"]:
        """Expected camera-space z: `depths` divided by alpha; 0 where alpha is 0."""
        return self.depths / self.alphas.clamp_min(1e-10)

    @property
    def visible(self) -> Bool[Tensor, "C N"]:
        """Visibility mask: which Gaussians are not culled in which camera."""
        return (self.radii > 0).all(dim=-1)


@dataclass(frozen=True)
class Scene:
    """Training photos in one normalised world. Photos may differ in size, so each is a `Views` of one."""

    views: tuple[Views, ...]
    points: Float[Tensor, "P 3"] | None
    """Sparse points of the source (COLMAP) in the normalised world; None where the source has none."""
    source_from_world: Float[Tensor, "4 4"]
    """Similarity (float64) from the normalised world to the frame of the source's cameras, which exports use."""

    def __len__(self) -> int:
        return len(self.views)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for view in self.views for name in view.names)
