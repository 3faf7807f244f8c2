"""Gaussians bound to the triangles of a tracked mesh, the rival that avatars are measured against.

After the description in Qian et al. 2024 (GaussianAvatars), section 3; no code of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.models.avatar.start import filled, seen_colors
from gs_reg.neighbors import nearest
from gs_reg.optim import ParameterGroup
from gs_reg.priors.types import ExpressionPrior, SurfaceSample, Track
from gs_reg.rotations import quat_multiply, quat_to_rotmat, rotmat_to_quat
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats, Views

PER_ROW = ("means", "quats", "log_scales", "opacity_logits", "dc", "sh_rest", "triangle")
LEAVES = (*PER_ROW[:-1], "codes", "poses")


@dataclass(frozen=True)
class RigBoundConfig:
    sh_degree: int = 3
    """Highest degree of view-dependent colour."""
    opacity: float = 0.1
    """Initial opacity."""
    lr_means: float = 5e-3
    """Learning rate of the positions, in units of the triangle."""
    lr_scale: float = 1.7e-2
    """Learning rate of the log-scales."""
    lr_quat: float = 1e-3
    """Learning rate of the quaternions."""
    lr_opacity: float = 5e-2
    """Learning rate of the opacity logits."""
    lr_color: float = 2.5e-3
    """Learning rate of the SH coefficients of degree 0; higher degrees have a twentieth of it."""
    lr_codes: float = 1e-4
    """Learning rate of the codes of training frames."""
    lr_poses: float = 1e-5
    """Learning rate of the poses of training frames."""


class RigBound(nn.Module):
    """Each Gaussian lives in the frame of a triangle, which moves, turns and scales it with the mesh."""

    means: Tensor
    quats: Tensor
    log_scales: Tensor
    opacity_logits: Tensor
    dc: Tensor
    sh_rest: Tensor
    codes: Tensor
    """Of each frame, added to the tracked code."""
    poses: Tensor
    """Of each frame, added to the tracked pose: a rotation vector and a translation in the world."""
    triangle: Tensor
    rest: Tensor
    """Vertices of the neutral mesh."""
    faces: Tensor
    tracked: Tensor
    world: Tensor
    """world_from_canonical of each frame, as tracked."""

    def __init__(
        self,
        prior: ExpressionPrior,
        ident: Float[Tensor, "I"] | None,
        track: Track,
        tensors: Mapping[str, Tensor],
        config: RigBoundConfig = RigBoundConfig(),
    ):
        """From the tensors of a state dict; see `on_surface` for a fresh one.

        Raises:
            InputError: the prior is no mesh.
        """
        super().__init__()
        mesh = prior.posed_mesh(prior.neutral, ident)
        if mesh is None:
            raise InputError(f"prior {prior.name}: it has no mesh that Gaussians could be bound to")
        self.config, self.prior, self.ident = config, prior, ident
        self.register_buffer("rest", mesh[0], persistent=False)
        self.register_buffer("faces", mesh[1].long(), persistent=False)
        self.register_buffer("tracked", track.codes, persistent=False)
        self.register_buffer("world", track.pose.matrices(), persistent=False)
        for name in LEAVES:
            self.register_parameter(name, nn.Parameter(tensors[name].clone()))
        self.register_buffer("triangle", tensors["triangle"].clone())

    @classmethod
    def on_surface(
        cls,
        prior: ExpressionPrior,
        ident: Float[Tensor, "I"] | None,
        track: Track,
        sample: SurfaceSample,
        config: RigBoundConfig = RigBoundConfig(),
    ) -> RigBound:
        """One grey Gaussian at each point of the mesh.

        Raises:
            InputError: the prior is no mesh.
        """
        mesh = prior.posed_mesh(prior.neutral, ident)
        if sample.triangles is None or mesh is None:
            raise InputError(f"prior {prior.name}: it has no mesh that Gaussians could be bound to")
        count = len(sample.points)
        triangle = sample.triangles.long()
        origin, rotation, size = triangle_frames(mesh[0][mesh[1].long()[triangle]])
        local = torch.einsum("nji,nj->ni", rotation, sample.points - origin) / size[:, None]
        spacing = nearest(sample.points, 3)[1].sqrt().mean(1).clamp_min(1e-6)
        tensors = {
            "means": local,
            "quats": torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
            "log_scales": (spacing / size).log()[:, None].repeat(1, 3),
            "opacity_logits": torch.full((count,), config.opacity).logit(),
            "dc": torch.zeros(count, 1, 3),
            "sh_rest": torch.zeros(count, (config.sh_degree + 1) ** 2 - 1, 3),
            "codes": torch.zeros_like(track.codes),
            "poses": torch.zeros(len(track), 6),
            "triangle": triangle,
        }
        return cls(prior, ident, track, tensors, config)

    @torch.no_grad()
    def paint(self, *frames: Views) -> None:
        """Gives all Gaussians the colours that the first frame shows, and those hidden there those of the next that
        shows them; the first should be neutral, and all have alphas."""
        colors = torch.full_like(self.means, torch.nan)
        for views in frames:
            seen = seen_colors(self.solid(views), views)
            colors = torch.where(colors.isnan(), seen, colors)
        self.dc.copy_(rgb_to_sh(filled(colors, self.canonical().means, frames[0].names))[:, None])

    def solid(self, views: Views) -> Splats:
        """The splats of the views' frame in the world, with their sizes in the log-scales and no warps."""
        splats = self(views)
        sizes = splats.log_scales + triangle_sizes(splats)[:, None].log()
        return replace(splats, log_scales=sizes, warps=None)

    def forward(self, views: Views) -> Splats:
        """The splats in the world, at the code and pose of the views' frame.

        Raises:
            ValueError: views without a frame.
        """
        if views.frame is None:
            raise ValueError("frame: expected the frame of the views, got none")
        code = self.tracked[views.frame] + self.codes[views.frame]
        turn = _rotation(self.poses[views.frame, :3])
        linear = turn @ self.world[views.frame, :3, :3]
        return self.posed(code, linear, self.world[views.frame, :3, 3] + self.poses[views.frame, 3:])

    def posed(self, code: Float[Tensor, "D"], linear: Float[Tensor, "3 3"], shift: Float[Tensor, "3"]) -> Splats:
        """The splats in the world, at any code and pose (world_from_canonical: its 3x3 part and its translation)."""
        mesh = self.prior.posed_mesh(code, self.ident)
        assert mesh is not None
        vertices = mesh[0] @ linear.T + shift
        origin, rotation, size = triangle_frames(vertices[self.faces[self.triangle]])
        warps = rotation * size[:, None, None]
        means = origin + torch.einsum("nij,nj->ni", warps, self.means)
        sh = torch.cat([self.dc, self.sh_rest], 1)
        extra = {"local": self.means, "local_scales": self.log_scales.exp()}
        return Splats(means, self.quats, self.log_scales, self.opacity_logits, sh, extra, warps=warps)

    def canonical(self) -> Splats:
        """The splats of the neutral mesh, in canonical units."""
        origin, rotation, size = triangle_frames(self.rest[self.faces[self.triangle]])
        means = origin + torch.einsum("nij,nj->ni", rotation, self.means) * size[:, None]
        quats = quat_multiply(rotmat_to_quat(rotation), self.quats)
        sh = torch.cat([self.dc, self.sh_rest], 1)
        return Splats(means, quats, self.log_scales + size.log()[:, None], self.opacity_logits, sh)

    def parameter_groups(self) -> list[ParameterGroup]:
        c = self.config
        rates = {
            "means": c.lr_means,
            "quats": c.lr_quat,
            "log_scales": c.lr_scale,
            "opacity_logits": c.lr_opacity,
            "dc": c.lr_color,
            "sh_rest": c.lr_color / 20,
        }
        groups = [ParameterGroup(name, [getattr(self, name)], lr, axis="gaussians") for name, lr in rates.items()]
        groups = [group for group in groups if group.tensors[0].numel()]
        frames = {"codes": c.lr_codes, "poses": c.lr_poses}
        return groups + [ParameterGroup(n, [getattr(self, n)], lr, axis="frames") for n, lr in frames.items()]

    @torch.no_grad()
    def edit(self, edit: Edit) -> None:
        """Rows of the canonical splats come and go; a child is bound to its parent's triangle."""
        if edit.axis != "gaussians":
            return
        rows = torch.arange(len(self.means), device=self.means.device) if edit.rows is None else edit.rows
        tensors = {name: getattr(self, name)[rows] for name in PER_ROW}
        origin, rotation, size = triangle_frames(self.rest[self.faces[tensors["triangle"]]])
        patch = dict(edit.patch)
        if "means" in patch:
            away = patch["means"] - origin
            tensors["means"] = torch.einsum("nji,nj->ni", rotation, away) / size[:, None]
        if "quats" in patch:
            tensors["quats"] = quat_multiply(rotmat_to_quat(rotation.mT), patch["quats"])
        if "log_scales" in patch:
            tensors["log_scales"] = patch["log_scales"] - size.log()[:, None]
        if "opacity_logits" in patch:
            tensors["opacity_logits"] = patch["opacity_logits"]
        if "sh" in patch:
            tensors["dc"], tensors["sh_rest"] = patch["sh"][:, :1], patch["sh"][:, 1:]
        for name, value in tensors.items():
            setattr(self, name, value if name == "triangle" else nn.Parameter(value.contiguous()))


def triangle_frames(
    corners: Float[Tensor, "N 3 3"],
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3 3"], Float[Tensor, "N"]]:
    """Centre of each triangle; its axes along an edge, its normal and across; its size: half of edge and height."""
    a, b, c = corners.unbind(1)
    along = F.normalize(b - a, dim=-1)
    normal = F.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    across = torch.linalg.cross(along, normal)
    size = ((b - a).norm(dim=-1) + ((c - a) * across).sum(-1).abs()) / 2
    return corners.mean(1), torch.stack([along, normal, across], -1), size.clamp_min(1e-9)


def triangle_sizes(splats: Splats) -> Float[Tensor, "N"]:
    """Of the triangles whose frames are the splats' warps."""
    assert splats.warps is not None
    return torch.linalg.det(splats.warps).abs() ** (1 / 3)


def _rotation(vector: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Of a small rotation vector, by its half tangent; differentiable at 0."""
    return quat_to_rotmat(torch.cat([vector.new_ones(1), vector / 2]))
