"""The nouns of the library: splats, cameras, views, renders and scenes. Frozen: changed rows are a new value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from gs_reg.rotations import quat_to_rotmat

R = TypeVar("R", bound="_Record")


def _moved(value: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, Mapping):
        return {k: _moved(v, device, dtype) for k, v in value.items()}
    if isinstance(value, _Record):
        return value.to(device, dtype)
    return value


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {k: _detached(v) for k, v in value.items()}
    return value.detach() if isinstance(value, _Record) else value


class _Record:
    """What every frozen dataclass of tensors can do, field by field: a new field is never forgotten."""

    def to(self: R, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> R:
        return type(self)(**{name: _moved(value, device, dtype) for name, value in self._fields().items()})

    def detach(self: R) -> R:
        """The same values without gradient history."""
        return type(self)(**{name: _detached(value) for name, value in self._fields().items()})

    def _fields(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def _concatenated(values: Sequence[Any], where: str, dim: int = 0) -> Any:
    """Tensors one after the other, mappings of them key by key; None where all are None."""
    first = values[0]
    if all(value is None for value in values):
        return None
    if all(isinstance(value, Mapping) for value in values):
        if any(value.keys() != first.keys() for value in values):
            raise ValueError(f"{where}: expected the same names in every part, got {[sorted(v) for v in values]}")
        return {key: _concatenated([value[key] for value in values], f"{where}[{key!r}]") for key in first}
    if not all(isinstance(value, Tensor) for value in values):
        raise ValueError(f"{where}: some parts have it and some do not")
    return torch.cat(list(values), dim=dim)


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
    warps: Float[Tensor, "N 3 3"] | None = None
    """Linear maps W of the shapes: the covariance is (W R S)(W R S)^T. A deformation field puts its Jacobian here."""
    colors: Float[Tensor, "C N 3"] | None = None
    """Colour towards each of C cameras, drawn instead of `sh`."""

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

        def taken(name: str, value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: tensor[index] for key, tensor in value.items()}
            if value is None:
                return None
            return value[:, index] if name == "colors" else value[index]

        return Splats(**{name: taken(name, value) for name, value in self._fields().items()})

    @staticmethod
    def joined(parts: Sequence[Splats]) -> Splats:
        """The rows of all parts, one after the other.

        Raises:
            ValueError: a field or an extra that some parts have and others have not.
        """
        names = [f.name for f in dataclasses.fields(Splats)]
        values = {name: [getattr(part, name) for part in parts] for name in names}
        return Splats(**{name: _concatenated(v, name, dim=int(name == "colors")) for name, v in values.items()})


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

    def cropped(self, left: int, top: int, width: int, height: int) -> Cameras:
        """The same cameras for a window of their images with its corner at pixel (left, top); it may lie outside."""
        offset = torch.zeros(3, 3, dtype=self.Ks.dtype, device=self.Ks.device)
        offset[0, 2], offset[1, 2] = left, top
        return Cameras(self.viewmats, self.Ks - offset, width, height)

    def moved(self, world_from_model: Float[Tensor, "*#C 4 4"]) -> Cameras:
        """The cameras as a model sees them that the given pose places in the world, one pose or one for each camera.

        A splat at x, drawn into these, looks as one at `world_from_model` x does in the cameras before. So the pose of
        a head acts on the cameras, and its gradient is the one of viewmats.
        """
        return Cameras(self.viewmats @ world_from_model, self.Ks, self.width, self.height)

    @staticmethod
    def joined(parts: Sequence[Cameras]) -> Cameras:
        """All cameras of parts of one image size.

        Raises:
            ValueError: the sizes differ.
        """
        sizes = {(part.width, part.height) for part in parts}
        if len(sizes) != 1:
            raise ValueError(f"cameras: expected one image size, got {sorted(sizes)}")
        viewmats, Ks = torch.cat([part.viewmats for part in parts]), torch.cat([part.Ks for part in parts])
        return Cameras(viewmats, Ks, *sizes.pop())

    @staticmethod
    def from_opengl(
        world_from_camera: Float[Tensor, "C 4 4"], Ks: Float[Tensor, "C 3 3"], width: int, height: int
    ) -> Cameras:
        """From camera-to-world matrices with +x right, +y up, -z forward, as nerfstudio, Blender and OpenGL have."""
        flip = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=world_from_camera.dtype, device=world_from_camera.device)
        return Cameras(torch.linalg.inv(world_from_camera * flip), Ks, width, height)

    @staticmethod
    def look_at(
        eye: Float[Tensor, "3"],
        target: Float[Tensor, "3"],
        up: Float[Tensor, "3"],
        fov_y: float,
        width: int,
        height: int,
    ) -> Cameras:
        """One camera at `eye` that has `target` in the middle of its image, and `up` upwards in it.

        `fov_y` is the whole vertical field of view in radians; pixels are square.

        Raises:
            ValueError: `eye` is `target`, or `up` is along the line between them.
        """
        forward = F.normalize(target - eye, dim=0)
        right = torch.linalg.cross(forward, up)
        if not float(right.norm()) > 1e-6 * float(up.norm()):
            raise ValueError("look_at: expected eye and target apart, and up not along the line between them")
        right = F.normalize(right, dim=0)
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
        return _one_camera(rotation, eye, fov_y, width, height)

    @staticmethod
    def from_pose(
        wxyz: Float[Tensor, "4"], position: Float[Tensor, "3"], fov_y: float, width: int, height: int
    ) -> Cameras:
        """One camera as viewers describe it: camera-to-world rotation (OpenCV axes), position, vertical field of view
        in radians."""
        return _one_camera(quat_to_rotmat(wxyz).T, position, fov_y, width, height)


def _one_camera(
    rotation: Float[Tensor, "3 3"], position: Float[Tensor, "3"], fov_y: float, width: int, height: int
) -> Cameras:
    """From the world-to-camera rotation."""
    viewmat, K = torch.eye(4).to(rotation), torch.eye(3).to(rotation)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ position
    K[0, 0] = K[1, 1] = height / (2 * math.tan(fov_y / 2))
    K[0, 2], K[1, 2] = width / 2, height / 2
    return Cameras(viewmat[None], K[None], width, height)


@dataclass(frozen=True)
class Views(_Record):
    """C cameras of one size with the photos that they took, where there are any, and whatever is known per pixel."""

    cameras: Cameras
    images: Float[Tensor, "C H W 3"] | None = None
    """Display-referred sRGB in [0, 1]."""
    names: tuple[str, ...] = ()
    masks: Bool[Tensor, "C H W"] | None = None
    """True = the pixel counts."""
    depths: Float[Tensor, "C H W"] | None = None
    """Camera-space z; 0 or NaN = unknown."""
    layers: UInt8[Tensor, "C H W"] | None = None
    """Depth layer of every pixel, 0 the farthest."""
    alphas: Float[Tensor, "C H W"] | None = None
    """How much of the pixel the foreground covers, from 0 to 1."""
    frame: int | None = None
    """Number of the moment (time, expression) that all these views show; None = the scene does not move."""

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def photos(self) -> Float[Tensor, "C H W 3"]:
        """`images`, for what cannot do without.

        Raises:
            ValueError: these are views without images.
        """
        if self.images is None:
            raise ValueError(f"views {', '.join(self.names) or '(no names)'}: expected images, got cameras alone")
        return self.images

    def __getitem__(self, index: int | slice) -> Views:
        if isinstance(index, int):
            start = range(len(self))[index]
            index = slice(start, start + 1)
        known = {name: value for name, value in self._fields().items() if value is not None and name != "frame"}
        return dataclasses.replace(self, **{name: value[index] for name, value in known.items()})

    @staticmethod
    def stack(parts: Sequence[Views]) -> Views:
        """Views of one image size and one moment as a single value, so that one call draws them all.

        Raises:
            ValueError: sizes or frames differ, or a field that some parts have and others have not.
        """
        frames = {part.frame for part in parts}
        if len(frames) != 1:
            raise ValueError(f"views: expected one frame, got {sorted(frames, key=str)}")
        maps = ("images", "masks", "depths", "layers", "alphas")
        return Views(
            Cameras.joined([part.cameras for part in parts]),
            names=tuple(name for part in parts for name in part.names),
            frame=frames.pop(),
            **{name: _concatenated([getattr(part, name) for part in parts], name) for name in maps},
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
