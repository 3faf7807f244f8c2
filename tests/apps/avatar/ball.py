"""A ball with a jaw as the prior of tests, and a capture of it that splats of its own surface draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.heads.pixels import CachedPixels
from gs_reg.data_tools.heads.types import Capture, SequenceInfo
from gs_reg.priors.types import UNIT_M, HeadPose, Part, SurfaceSample, Track
from gs_reg.render import render
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

RADIUS = 0.4
"""In canonical units: a head of 20 cm."""
RINGS, SEGMENTS = 24, 32


@dataclass(frozen=True)
class BallPrior:
    """Code: jaw (the lower front goes down), smile (the mouth's corners go out), blink (nothing)."""

    name: str = "ball"
    licence: str = "ours"
    dim: int = 3
    channels: tuple[str, ...] = ("jawOpen", "smile", "blink")
    unit_m: float = UNIT_M

    @property
    def neutral(self) -> Tensor:
        return torch.zeros(3)

    @property
    def lo(self) -> Tensor:
        return torch.zeros(3)

    @property
    def hi(self) -> Tensor:
        return torch.ones(3)

    def mesh(self) -> tuple[Tensor, Tensor]:
        polar = torch.linspace(0, math.pi, RINGS + 1)[:, None]
        turn = torch.linspace(0, 2 * math.pi, SEGMENTS + 1)[:-1]
        points = torch.stack(
            [polar.sin() * turn.sin(), polar.cos().expand(-1, SEGMENTS), polar.sin() * turn.cos()], -1
        ).reshape(-1, 3)
        at = torch.arange((RINGS + 1) * SEGMENTS).reshape(RINGS + 1, SEGMENTS)
        a, b, c, d = at[:-1], at[1:], at[1:].roll(-1, 1), at[:-1].roll(-1, 1)
        faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
        corners = points[faces]
        area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
        return RADIUS * points, faces[area > 1e-4]

    def parts_at(self, points: Float[Tensor, "n 3"]) -> Tensor:
        x, y, z = (points / RADIUS).unbind(-1)
        parts = torch.full(x.shape, int(Part.SCALP))
        parts[(z > 0.3) & (y < 0.5)] = int(Part.SKIN)
        parts[(z > 0.3) & (y > -0.4) & (y < -0.3)] = int(Part.LIP_LOWER)
        parts[(z > 0.3) & (y > 0.2) & (y < 0.3)] = int(Part.EYE)
        parts[y < -0.7] = int(Part.NECK)
        return parts

    def moves(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
        """Displacement of points by unit codes; last axis the code."""
        x, y, z = (points / RADIUS).unbind(-1)
        front = torch.exp(-4 * ((y + 0.35).square() + x.square())) * (z > 0)
        jaw = torch.stack([0 * x, -0.1 * front * (y < -0.3), 0 * x], -1)
        smile = torch.stack([0.06 * front * x.sign() * x.abs().clamp_max(1), 0 * x, 0 * x], -1)
        return torch.stack([jaw, smile, 0 * jaw], -1)

    def surface(self, ident, n: int, seed: int) -> SurfaceSample:
        vertices, faces = self.mesh()
        corners = vertices[faces]
        area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
        generator = torch.Generator().manual_seed(seed)
        triangles = torch.multinomial(area, n, replacement=True, generator=generator)
        weights = torch.distributions.Dirichlet(torch.ones(3))
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            barycentric = weights.sample((n,))
        points = (corners[triangles] * barycentric[..., None]).sum(1)
        return SurfaceSample(points, points / RADIUS, self.parts_at(points), triangles, barycentric)

    def forward(self, x, z, ident=None, part=None):
        return x + (self.moves(x) @ z[..., None, :, None])[..., 0]

    def backward(self, x, z, ident=None, part=None):
        back = x
        for _ in range(20):
            back = x - (self.moves(back) @ z[..., None, :, None])[..., 0]
        return back, None

    def posed_mesh(self, z, ident=None):
        vertices, faces = self.mesh()
        return vertices + self.moves(vertices) @ z, faces

    def from_arkit(self, a52):
        return None


def ball_cameras(count: int, width: int = 64, height: int = 80) -> Cameras:
    target, up = torch.zeros(3), torch.tensor([0.0, 1.0, 0.0])
    angles = torch.linspace(-0.9, 0.9, count)
    eyes = [torch.stack([0.6 * a.sin(), 0.05 * a, 0.6 * a.cos()]) for a in angles]
    return Cameras.joined([Cameras.look_at(eye, target, up, 0.5, width, height) for eye in eyes])


def ball_splats(prior: BallPrior, code: Tensor, pose: Tensor, count: int = 3000) -> Splats:
    """The truth: colours by place, a blush with the smile that no mesh explains."""
    sample = prior.surface(None, count, 5)
    points = prior.forward(sample.points, code) @ pose[:3, :3].T + pose[:3, 3]
    colors = 0.5 + 0.35 * torch.stack([(25 * sample.points[:, i] + i).sin() for i in range(3)], -1)
    colors[:, 0] += 0.3 * code[1] * (sample.points[:, 2] > 0.2)
    return Splats(
        points,
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count, 3), math.log(0.004)),
        torch.full((count,), 3.0),
        rgb_to_sh(colors.clamp(0, 1))[:, None],
    )


def ball_capture(folder: Path, frames: int = 6, cameras: int = 5) -> Capture:
    """Two sequences, the second held out; the middle camera is held out."""
    prior, rig = BallPrior(), ball_cameras(cameras)
    count = 2 * frames
    generator = torch.Generator().manual_seed(0)
    codes = torch.rand(count, 3, generator=generator)
    codes[0] = 0
    angles = 0.2 * (torch.rand(count, generator=generator) - 0.5)
    rotation = torch.eye(3).repeat(count, 1, 1)
    rotation[:, 0, 0], rotation[:, 2, 2] = angles.cos(), angles.cos()
    rotation[:, 0, 2], rotation[:, 2, 0] = angles.sin(), -angles.sin()
    pose = HeadPose(rotation, 0.01 * torch.randn(count, 3, generator=generator), torch.ones(count))
    names = tuple(f"{'AB'[i // frames]}/{i % frames:05d}" for i in range(count))

    def draw(frame: int, camera: int):
        return render(ball_splats(prior, codes[frame], pose.matrices()[frame]), rig[camera])

    def photo(frame: int, camera: int) -> Tensor:
        return (draw(frame, camera).colors[0].clamp(0, 1) * 255).round().byte()

    def mask(frame: int, camera: int) -> Tensor:
        return (draw(frame, camera).alphas[0, ..., 0] * 255).round().byte()

    return Capture(
        folder=folder,
        cameras=rig,
        camera_names=tuple(f"cam{i}" for i in range(cameras)),
        sequences=(SequenceInfo("A", range(frames)), SequenceInfo("B", range(frames, count))),
        tracks=Track(codes, pose, "ball", names),
        ident=None,
        prior="ball",
        held_out_sequences=("B",),
        held_out_cameras=(f"cam{cameras // 2}",),
        pixels=CachedPixels(photo, mask),
    )


def stand_in(folder: Path) -> None:
    """What the readers find in the folder from now on is a capture of the ball."""
    from gs_reg.apps.avatar import sources

    vars(sources).update(read_capture=lambda *_: ball_capture(folder), load_prior=lambda *_: BallPrior())
