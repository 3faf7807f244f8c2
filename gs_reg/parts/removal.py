"""What stands behind a part that is taken away: Gaussians on the surface that its removal leaves open.

RoMaP removes nothing. A hole is closed only where the border says that a surface goes on behind it, and where no camera
saw through that place before: a leaf in front of the air leaves air.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.geometry import project, unproject
from gs_reg.neighbors import nearest
from gs_reg.parts.holes import harmonic
from gs_reg.parts.views import SOLID, dilated, part_views
from gs_reg.render import RenderConfig
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats, Views

SIGMA = 0.7
"""Standard deviation of a new Gaussian, in distances between new ones."""
OPACITY = 0.95
"""Of a new Gaussian."""
FRINGE = 2
"""Pixels around a hole whose colours are not believed: the part's soft edge is in them."""
TOLERANCE = 0.01
"""Relative difference of depths up to which two are the same."""
SEEN_THROUGH = 2
"""So many cameras that saw through a place prove that nothing is there."""
MOST = 20_000
"""New Gaussians of one view; pixels are thinned out beyond it."""


@dataclass(frozen=True)
class Filling:
    splats: Splats
    """M new Gaussians, of one colour from all sides."""
    parent: Int[Tensor, "M"]
    """The nearest row that stays, of each."""
    views: Views | None
    """Pictures without the part, in which the masks are the holes that were closed; only views with such holes."""


@torch.no_grad()
def fill_behind(
    splats: Splats,
    chosen: Bool[Tensor, "N"],
    views: Views,
    config: RenderConfig = RenderConfig(),
    background: Float[Tensor, "3"] | None = None,
    pictures: Mapping[str, Float[Tensor, "H W 3"]] | None = None,
) -> Filling:
    """Closes the holes that the chosen rows leave, as the views see them; those with a picture first, then large ones.

    `pictures` are of views as they shall be afterwards; elsewhere colours are those around the hole.
    """
    pictures = pictures or {}
    stay = ~chosen
    before = part_views(splats, views.cameras, chosen, config)
    assert before.masks is not None
    scene = splats.rows(stay)
    behind, shots = [scene.rows(slice(0))], []
    sizes = before.masks.flatten(1).sum(1).tolist()
    order = sorted(range(len(views)), key=lambda i: (views.names[i] not in pictures, -sizes[i]))
    for i in order:
        if sizes[i] == 0:
            continue
        # with what earlier views have closed, so that no hole is closed twice
        now = Splats.joined([scene, *behind])
        after = part_views(now, views.cameras[i], torch.zeros(len(now), dtype=torch.bool), config)
        opened = _surface(before[i], after, before, pictures.get(views.names[i]))
        if opened is not None:
            behind.append(_gaussians(opened, splats))
            assert after.alphas is not None and opened.masks is not None
            rest = after.photos + (1 - after.alphas[..., None]) * (0 if background is None else background)
            shown = torch.where(opened.masks[..., None], opened.photos, rest)
            shots.append(replace(opened, images=shown.clamp(0, 1), names=(views.names[i],)))
    new = Splats.joined(behind)
    parent = stay.nonzero()[:, 0][nearest(scene.means, 1, new.means)[0][:, 0].long()]
    return Filling(new, parent, Views.stack(shots) if shots else None)


def _surface(before: Views, after: Views, all_before: Views, picture: Float[Tensor, "H W 3"] | None) -> Views | None:
    """Colours and depths of what is behind the part, and as masks where; None where a view shows no hole to close."""
    assert before.masks is not None and before.alphas is not None and before.depths is not None
    assert after.alphas is not None and after.depths is not None
    hole = before.masks[0] & (before.alphas[0] >= SOLID) & (after.alphas[0] < SOLID)
    if not hole.any():
        return None
    wanted = dilated(hole[None], FRINGE)[0]
    solid = (after.alphas[0] >= SOLID) & ~wanted
    # what is in front of the part says nothing of what is behind
    further = solid & (after.depths[0] >= (1 - TOLERANCE) * _spread(before.depths[0], hole))
    colors = after.photos[0] / after.alphas[0, ..., None].clamp_min(1e-6)
    inverse = torch.where(solid, 1 / after.depths[0].clamp_min(1e-9), 0.0)
    smooth = harmonic(torch.cat([colors, inverse[..., None]], -1), further, wanted)
    outside = ~wanted & (further | ~solid)
    goes_on = harmonic(further[..., None].to(colors), outside, wanted)[..., 0] > SOLID
    hole &= goes_on & (smooth[..., 3] > 0)
    depths = torch.where(hole, 1 / smooth[..., 3].clamp_min(1e-9), after.depths[0])
    hole &= ~_seen_through(unproject(before.cameras, depths[None])[0], all_before)
    if not hole.any():
        return None
    shown = smooth[..., :3].clamp(0, 1) if picture is None else picture.to(colors)
    return Views(before.cameras, shown[None], masks=hole[None], depths=torch.where(hole, depths, after.depths[0])[None])


def _spread(depths: Float[Tensor, "H W"], hole: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """For every pixel the depth of the hole's nearest one."""
    from scipy.ndimage import distance_transform_edt

    nearest_ones = distance_transform_edt(~hole.cpu().numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.as_tensor(nearest_ones, dtype=torch.long, device=depths.device)
    return depths[rows, columns]


def _seen_through(points: Float[Tensor, "H W 3"], views: Views) -> Bool[Tensor, "H W"]:
    """Where enough cameras saw something farther than the point, or the background, in its direction."""
    assert views.depths is not None and views.alphas is not None
    count = torch.zeros_like(points[..., 0])
    for i in range(len(views)):
        uv, z = (column[0] for column in project(views.cameras[i], points))
        size = uv.new_tensor([views.cameras.width, views.cameras.height])
        layers = torch.stack([views.depths[i], (views.alphas[i] >= SOLID).to(z)])[None]
        sampled = F.grid_sample(layers, (2 * uv / size - 1)[None], mode="nearest", align_corners=False)[0]
        inside = (z > 0) & (uv >= 0).all(-1) & (uv < size).all(-1)
        count += inside & ((sampled[1] == 0) | (sampled[0] > (1 + TOLERANCE) * z))
    return count >= SEEN_THROUGH


def _gaussians(opened: Views, like: Splats) -> Splats:
    """One for each pixel of the masks, or of a grid where these are many."""
    assert opened.masks is not None and opened.depths is not None
    holes, camera = opened.masks[0], opened.cameras
    stride = math.ceil(math.sqrt(int(holes.sum()) / MOST))
    grid = torch.zeros_like(holes)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    taken = holes & grid
    z = opened.depths[0][taken]
    sh = torch.zeros(len(z), *like.sh.shape[1:], dtype=like.sh.dtype, device=z.device)
    sh[:, 0] = rgb_to_sh(opened.photos[0][taken])
    size = (SIGMA * stride * z / camera.Ks[0, 0, 0]).log()
    return Splats(
        unproject(camera, opened.depths)[0][taken],
        z.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(z), 1),
        size[:, None].repeat(1, 3),
        torch.full_like(z, OPACITY).logit(),
        sh,
    )
