"""The first cloud of an avatar: points of the prior's neutral surface, in the colours that photos show there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.fields.inputs import GATES
from gs_reg.geometry import project
from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.neighbors import morton_order, nearest
from gs_reg.priors.types import ExpressionPrior, Part, SurfaceSample, Track
from gs_reg.render import render
from gs_reg.types import Splats, Views

MOUTH = (Part.TOOTH_UPPER, Part.TOOTH_LOWER, Part.TONGUE_GUM, Part.MOUTH_SOCKET)
DENSER = 20
"""Times as many points as wanted are drawn of the surface, at most, to find enough of a small part."""
SLACK = 3.0
"""Scales of a Gaussian by which it may lie behind what is drawn, and be seen."""
OPEN = 4.0
"""Logit of a gate at the start."""
FLAT = 0.3
"""Thickness of a Gaussian at the start, in lengths along the surface; so those that split stay on it."""
NEAR = 3
"""Neighbours whose mean distance is the first scale."""


@dataclass(frozen=True)
class CloudConfig:
    points: int = 60_000
    """Gaussians on the surface of the head, even by area."""
    mouth: int = 4_000
    """More of them on teeth, tongue and walls of the mouth."""
    eyes: int = 2_000
    """More of them on both eyeballs."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.points <= NEAR:
            raise InputError(f"points: expected more than {NEAR}, got {self.points}")
        if min(self.mouth, self.eyes) < 0:
            raise InputError(f"mouth, eyes: expected at least 0, got {self.mouth} and {self.eyes}")


def start_cloud(
    prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, config: CloudConfig = CloudConfig()
) -> tuple[Splats, SurfaceSample]:
    """Grey, opaque discs on the neutral head, with `part` in `extra`, and the points that they lie on."""
    parts = [prior.surface(ident, config.points, config.seed)]
    for kinds, count, seed in ((MOUTH, config.mouth, 1), ((Part.EYE,), config.eyes, 2)):
        if count:
            parts.append(_of_parts(prior, ident, kinds, count, config.seed + seed))
    sample = SurfaceSample(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("points", "normals", "parts"))
    ).to(dtype=torch.float32)
    _, distances = nearest(sample.points, NEAR)
    log_scales = distances.sqrt().mean(1, keepdim=True).clamp_min(1e-5).log().repeat(1, 3)
    log_scales[:, 2] += math.log(FLAT)
    count, quats = len(sample.points), _facing(sample.normals)
    logits, sh = sample.points.new_full((count,), 4.0), sample.points.new_zeros(count, 1, 3)
    return Splats(sample.points, quats, log_scales, logits, sh, {"part": sample.parts}), sample


def _facing(normals: Float[Tensor, "N 3"]) -> Float[Tensor, "N 4"]:
    """Rotations that turn the z axis into the normals the shortest way; of one that points back, about x."""
    x, y, z = F.normalize(normals, dim=1).unbind(1)
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(x)], dim=1)
    back = quats.norm(dim=1, keepdim=True) < 1e-4
    return F.normalize(torch.where(back, F.one_hot(torch.tensor(1), 4).to(quats), quats), dim=1)


def _of_parts(
    prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, kinds: tuple[Part, ...], count: int, seed: int
) -> SurfaceSample:
    """At most `count` points of some parts; none where the prior has no such part."""
    drawn = prior.surface(ident, DENSER * count, seed)
    wanted = torch.isin(drawn.parts, torch.tensor(kinds).to(drawn.parts)).nonzero()[:count, 0]
    return SurfaceSample(drawn.points[wanted], drawn.normals[wanted], drawn.parts[wanted])


@torch.no_grad()
def seen_colors(splats: Splats, views: Views) -> Float[Tensor, "N 3"]:
    """Median of the colours that the views show at the centres, where nothing hides them.

    A Gaussian that no view shows has the colour of the nearest one that is shown. `alphas` of the views, where there
    are any, say what the head is. The cameras are in the frame of the splats.

    Raises:
        ValueError: no view shows any of them.
    """
    images, cameras = views.photos, views.cameras
    solid = replace(splats, opacity_logits=torch.full_like(splats.opacity_logits, 8.0))
    depths = render(solid, cameras).expected_depths
    pixels, z = project(cameras, splats.means)
    size = pixels.new_tensor([cameras.width, cameras.height])
    grid = (2 * pixels / size - 1)[:, :, None]

    def at(maps: Float[Tensor, "C H W D"]) -> Float[Tensor, "C N D"]:
        found = F.grid_sample(maps.movedim(-1, 1), grid, align_corners=False)
        return found[..., 0].movedim(1, -1)

    # the cameras may be similarities: a length of the splats' frame is as many times longer in their depths
    slack = SLACK * splats.scales.amax(1) * torch.linalg.det(cameras.viewmats[:1, :3, :3]).abs() ** (1 / 3)
    seen = (z > 0) & ((pixels >= 0) & (pixels < size)).all(-1) & (z <= at(depths)[..., 0] + slack)
    if views.alphas is not None:
        seen &= at(views.alphas[..., None])[..., 0] > 0.9
    colors = torch.where(seen[..., None], at(images), torch.nan).nanmedian(0).values
    shown = seen.any(0)
    if not bool(shown.any()):
        raise ValueError(f"views {', '.join(views.names) or '(no names)'}: none shows a point of the head")
    if not bool(shown.all()):
        known = shown.nonzero()[:, 0]
        index, _ = nearest(splats.means[known], 1, queries=splats.means[~shown].contiguous())
        colors[~shown] = colors[known[index[:, 0].long()]]
    return colors


def first_tensors(
    cloud: Splats, latent: Float[Tensor, "N L"], track: Track, config: AvatarConfig, screen_channels: int
) -> dict[str, Tensor]:
    """The tensors of an avatar before the first step, in Morton order; `neutral`, `probes` and the graph are not there
    yet."""
    order, frames = morton_order(cloud.means), len(track)
    cloud, latent = cloud.detach().rows(order), latent.detach()[order]
    K, count, new = (config.sh_degree + 1) ** 2, len(cloud), cloud.means.new_zeros
    common = min(K, cloud.sh.shape[1]) - 1
    rest = torch.cat([cloud.sh[:, 1 : common + 1], new(count, K - 1 - common, 3)], dim=1)
    return {
        **{name: getattr(cloud, name) for name in ("means", "quats", "log_scales")},
        "opacity_logits": torch.full_like(cloud.opacity_logits, config.opacity).logit(),
        "dc": cloud.sh[:, :1],
        "sh_rest": rest,
        "latent": latent,
        "gate_logits": new(count, GATES) + OPEN,
        "screen_channels": new(count, screen_channels),
        "distilled_latent": latent,
        "part": cloud.extra.get("part", new(count)).long(),
        "moving": new(count, dtype=torch.bool) | True,
        "code_corrections": torch.zeros_like(track.codes),
        "pose_corrections": new(frames, 6),
        "tracked": track.codes,
        "poses": track.pose.matrices().to(cloud.means),
        "neighbors": new(count, config.neighbors, dtype=torch.int32),
        "neighbor_weights": new(count, config.neighbors),
        "age": new((), dtype=torch.long),
        "built": new((), dtype=torch.long),
    }
