"""What stands behind a part that is taken away: Gaussians on the surface that its removal leaves open.

RoMaP removes nothing. A hole is closed only where the border says that a surface goes on behind it, and where no camera
saw through that place before, and most views that see the hole guess the same: a leaf in front of the air leaves air.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.geometry import project, unproject
from gs_reg.neighbors import nearest
from gs_reg.parts.holes import harmonic
from gs_reg.parts.views import SOLID, dilated, part_views
from gs_reg.render import RenderConfig, render
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
AGREEMENT = 0.02
"""The same, of what two views guess."""
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
    scene = splats.rows(stay)
    after = part_views(scene, views.cameras, torch.zeros(len(scene), dtype=torch.bool), config)
    guesses = [_guess(before[i], after[i]) for i in range(len(views))]
    behind, shots = [scene.rows(slice(0))], []
    sizes = [0 if g is None or g.depths is None else int((g.depths > 0).sum()) for g in guesses]
    for i in sorted(range(len(views)), key=lambda i: (views.names[i] not in pictures, -sizes[i])):
        guess = guesses[i]
        if guess is None or guess.depths is None or sizes[i] == 0:
            continue
        # with what earlier views have closed, so that no hole is closed twice
        now = render(Splats.joined([scene, *behind]), views.cameras[i], config)
        points = unproject(guess.cameras, guess.depths)[0]
        open_ = (guess.depths > 0) & (now.alphas[..., 0] < SOLID)
        others = [other for other in guesses if other is not None and other is not guess]
        open_ &= ~_seen_through(points, before) & agreed(points, others)
        if open_.any():
            given = pictures.get(views.names[i])
            colors = guess.photos if given is None else given.to(guess.photos)[None]
            behind.append(_gaussians(replace(guess, images=colors, masks=open_), splats))
            rest = now.colors + (1 - now.alphas) * (0 if background is None else background)
            shown = torch.where(open_[..., None], colors, rest).clamp(0, 1)
            shots.append(Views(guess.cameras, shown, (views.names[i],), masks=open_))
    new = Splats.joined(behind)
    parent = stay.nonzero()[:, 0][nearest(scene.means, 1, new.means)[0][:, 0].long()]
    return Filling(new, parent, Views.stack(shots) if shots else None)


def _guess(before: Views, after: Views) -> Views | None:
    """What one view says is behind the part: masks where a hole opens, its colours, and depths, which are 0 for air."""
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
    depths = torch.where(hole & goes_on & (smooth[..., 3] > 0), 1 / smooth[..., 3].clamp_min(1e-9), 0.0)
    return Views(before.cameras, smooth[None, ..., :3].clamp(0, 1), masks=hole[None], depths=depths[None])


def _spread(depths: Float[Tensor, "H W"], hole: Bool[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """For every pixel the depth of the hole's nearest one."""
    from scipy.ndimage import distance_transform_edt

    nearest_ones = distance_transform_edt(~hole.cpu().numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.as_tensor(nearest_ones, dtype=torch.long, device=depths.device)
    return depths[rows, columns]


def _seen_through(points: Float[Tensor, "H W 3"], views: Views) -> Bool[Tensor, "H W"]:
    """Where enough cameras saw something farther than the point, or the background, in its direction."""
    count = torch.zeros_like(points[..., 0])
    for i in range(len(views)):
        z, depth, inside = _looked_up(points, views[i])
        count += inside & ((depth == 0) | (depth > (1 + TOLERANCE) * z))
    return count >= SEEN_THROUGH


def agreed(points: Float[Tensor, "H W 3"], guesses: Sequence[Views]) -> Bool[Tensor, "H W"]:
    """Where at least half of the views that see the same hole guess a surface there too; also where none sees it."""
    balance = torch.zeros_like(points[..., 0])
    for guess in guesses:
        z, depth, _ = _looked_up(points, guess)
        assert guess.masks is not None
        hole = _looked_up(points, replace(guess, depths=guess.masks.to(z)))[1] > 0
        balance += torch.where(hole, torch.where((depth - z).abs() <= AGREEMENT * z, 1.0, -1.0), 0.0)
    return balance >= 0


def _looked_up(
    points: Float[Tensor, "H W 3"], view: Views
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"], Bool[Tensor, "H W"]]:
    """Depths of the points in a view, those of its pixels where they are, and whether they are in the picture."""
    assert view.depths is not None
    uv, z = (column[0] for column in project(view.cameras, points))
    size = uv.new_tensor([view.cameras.width, view.cameras.height])
    found = F.grid_sample(view.depths[None], (2 * uv / size - 1)[None], mode="nearest", align_corners=False)[0, 0]
    inside = (z > 0) & (uv >= 0).all(-1) & (uv < size).all(-1)
    return z, torch.where(inside, found, 0.0), inside


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
