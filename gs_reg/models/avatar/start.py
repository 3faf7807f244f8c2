"""The first cloud of an avatar: points of the prior's neutral surface, in the colours that photos show there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.fields.inputs import GATES
from gs_reg.geometry import project
from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.neighbors import morton_order, nearest
from gs_reg.priors.regions import GUMS, LASHES, SOCKET
from gs_reg.priors.types import ExpressionPrior, Part, SurfaceSample, Track
from gs_reg.render import render
from gs_reg.types import Splats, Views

MOUTH = (Part.TOOTH_UPPER, Part.TOOTH_LOWER, *GUMS, *SOCKET)
RIMS = (Part.LIP_UPPER, Part.LIP_LOWER, Part.LID_UPPER, Part.LID_LOWER, *LASHES)
SPARE, RAREST = 1.2, 0.01
"""Times as many points are drawn of the surface as should hold enough of a part; smaller shares of it count as this."""
SLACK = 1.0
"""Scales of a Gaussian by which it may lie behind what is drawn, and be seen; teeth lie close behind lips."""
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
    """More of them on the front halves of both eyeballs."""
    rims: int = 4_000
    """More of them on lips and lids, which are small, and must cover teeth and eyeballs."""
    face: int = 10_000
    """More of them on the skin of the face."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.points <= NEAR:
            raise InputError(f"points: expected more than {NEAR}, got {self.points}")
        for name in ("mouth", "eyes", "rims", "face"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected at least 0, got {getattr(self, name)}")

    @property
    def total(self) -> int:
        """At most, as a prior may lack parts."""
        return self.points + self.mouth + self.eyes + self.rims + self.face


def start_sample(prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, config: CloudConfig) -> SurfaceSample:
    """Points of the neutral surface, as many of each part as the config asks for."""
    samples = [prior.surface(ident, config.points, config.seed)]
    more = (MOUTH, config.mouth), ((Part.EYE,), config.eyes), (RIMS, config.rims), ((Part.SKIN,), config.face)
    for number, (kinds, count) in enumerate(more):
        share = float(_wanted(samples[0], kinds).double().mean())
        if count:
            drawn = prior.surface(ident, int(SPARE * count / max(share, RAREST)), config.seed + 1 + number)
            rows = _wanted(drawn, kinds).nonzero()[:count, 0]
            kept: dict[str, Any] = {k: v if v is None else v[rows] for k, v in vars(drawn).items()}
            samples.append(SurfaceSample(**kept))
    columns = {name: [getattr(sample, name) for sample in samples] for name in vars(samples[0])}
    whole: dict[str, Any] = {k: None if values[0] is None else torch.cat(values) for k, values in columns.items()}
    return SurfaceSample(**whole).to(dtype=torch.float32)


def start_cloud(
    prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, config: CloudConfig = CloudConfig()
) -> tuple[Splats, SurfaceSample]:
    """Grey, opaque discs on the neutral head, with `part` in `extra`, and the points that they lie on."""
    drawn = start_sample(prior, ident, config)
    sample = SurfaceSample(drawn.points, drawn.normals, drawn.parts)
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


def _wanted(sample: SurfaceSample, kinds: tuple[Part, ...]) -> Bool[Tensor, "n"]:
    """Which points are of these parts; of eyeballs those in front alone."""
    wanted = torch.isin(sample.parts, torch.tensor(kinds).to(sample.parts))
    return wanted & ((sample.parts != Part.EYE) | (sample.normals[:, 2] > 0))


@torch.no_grad()
def seen_colors(splats: Splats, views: Views) -> Float[Tensor, "N 3"]:
    """Median of the colours that the views show at the centres, where nothing hides them; NaN where no view shows one.

    `alphas` of the views, where there are any, say what the head is. The cameras are in the frame of the splats.
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
    return torch.where(seen[..., None], at(images), torch.nan).nanmedian(0).values


def filled(colors: Float[Tensor, "N 3"], means: Float[Tensor, "N 3"], names: Sequence[str]) -> Float[Tensor, "N 3"]:
    """The colours that views of these names show, and those of the nearest other Gaussian in the place of NaN.

    Raises:
        ValueError: all are NaN.
    """
    hidden = colors.isnan().any(1)
    if bool(hidden.all()):
        raise ValueError(f"views {', '.join(names) or '(no names)'}: none shows a point of the head")
    if not bool(hidden.any()):
        return colors
    known = (~hidden).nonzero()[:, 0]
    index, _ = nearest(means[known], 1, queries=means[hidden].contiguous())
    return colors.index_copy(0, hidden.nonzero()[:, 0], colors[known[index[:, 0].long()]])


LATER = ("lively", "stretch_colors")
"""Columns that avatars of earlier versions do not have."""


def columns_of_later(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those, as they are of an avatar to which they change nothing."""
    one = state["opacity_logits"]
    return dict(zip(LATER, (torch.ones_like(one), one.new_zeros(len(one), 0, 3)), strict=True))


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
        "stretch_colors": new(count, 2 if config.stretch_colors else 0, 3),
        "distilled_latent": latent,
        "part": cloud.extra.get("part", new(count)).long(),
        "moving": new(count, dtype=torch.bool) | True,
        "lively": new(count) + 1,
        "code_corrections": torch.zeros_like(track.codes),
        "pose_corrections": new(frames, 6),
        "tracked": track.codes,
        "poses": track.pose.matrices().to(cloud.means),
        "neighbors": new(count, config.neighbors, dtype=torch.int32),
        "neighbor_weights": new(count, config.neighbors),
        "age": new((), dtype=torch.long),
        "built": new((), dtype=torch.long),
    }
