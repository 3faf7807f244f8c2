"""The teacher `clicks`: regions of one colour grown in 3D from what the user clicked; it needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.geometry import project as to_pixels
from gs_reg.render import lift, project, render
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Cameras, Splats

from ..graph import Graph, make_graph
from ..lab import lab
from ..prompts import PartPrompt
from ..types import PartMaps
from .base import TeacherSetting, needed_splats, prepared
from .lifting import Scenery
from .marks import Mark, check_marks

LEAST_OPACITY = 0.05
"""Of splats that regions grow over."""
TOLERANCE = 20.0
"""Largest distance in CIELAB, with half of the lightness, from the colours that were clicked."""
LONGEST_STEP = 3.0
"""Between neighbours, in medians of the distance to the nearest neighbours."""
STRANGE = 20.0
"""How much longer a way is through splats whose colours are only just within the tolerance."""
REACH = 2.0
"""Of a splat, in its largest standard deviation."""
MOST_COLORS = 24
"""Of what was clicked, that stand for a part."""
CLICK_RADIUS = 2.0
"""Pixels around a click that are looked at."""
SEED_SHARE = 0.3
"""Of the largest blending weight under a click, from which on a splat was clicked."""


class Clicks:
    """Regions grown on the graph of the splats' neighbours, drawn into the views.

    From the splats under a click a region takes neighbours of similar colour; between parts the shorter way decides,
    which is longer through other colours, and marks of what does not belong grow regions of their own. A box in a view
    starts in its middle half and ends at its sides; a box in space is the region itself.
    """

    def __init__(self, setting: TeacherSetting, tolerance: float = TOLERANCE):
        self.setting, self.tolerance = setting, tolerance
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        needed_splats(self.setting, "clicks")
        check_marks(self.setting.marks, prompt.parts, self.setting.views)
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt, setting = prepared(self.prompt), self.setting
        scenery = Scenery(needed_splats(setting, "clicks"), cameras, setting.views)
        chosen = regions(scenery, setting.marks, prompt.parts, self.tolerance)
        self.notes = {"splats": dict(zip(prompt.parts, chosen.sum(0).tolist(), strict=True))}
        maps = drawn(scenery.splats, cameras, chosen).to(pictures)
        return PartMaps(prompt.parts, maps, maps.new_ones(maps.shape[:2]))

    def close(self) -> None:
        pass


@torch.no_grad()
def drawn(splats: Splats, cameras: Cameras, chosen: Bool[Tensor, "N L"]) -> Float[Tensor, "C L H W"]:
    """The share of each pixel's surface that the chosen splats are."""
    maps = []
    for c in range(len(cameras)):
        image = render(splats, cameras[c], features=chosen.to(splats.means))
        assert image.features is not None
        maps.append((image.features / image.alphas.clamp(min=0.5)).clamp(0, 1).movedim(-1, 1))
    return torch.cat(maps)


@torch.no_grad()
def regions(
    scenery: Scenery, marks: Sequence[Mark], parts: Sequence[str], tolerance: float = TOLERANCE
) -> Bool[Tensor, "N L"]:
    """Which splats the marks of each part mean; a splat is of one part at most."""
    splats = scenery.splats
    usable = (splats.finite & (splats.opacities > LEAST_OPACITY)).nonzero()[:, 0]
    grown_over = splats.rows(usable)
    graph = make_graph(grown_over)
    colors, edges = _smooth_colors(grown_over, graph), _edges(grown_over, graph)
    marked = [(mark, _marked(scenery, mark)[usable].cpu().numpy()) for mark in marks]
    labels = [(part, wanted) for part in parts for wanted in (True, False)]
    costs = [
        _costs(
            [(m, seeds) for m, seeds in marked if (m.part, m.wanted) == label],
            scenery,
            usable,
            colors,
            edges,
            tolerance,
        )
        for label in labels
    ]
    best = np.stack(costs).argmin(0)
    reached = np.isfinite(np.stack(costs).min(0))
    shares = np.stack([(best == labels.index((part, True))) & reached for part in parts], 1).astype(np.float32)
    chosen = torch.zeros(len(splats), len(parts), dtype=torch.bool, device=splats.means.device)
    chosen[usable] = _without_holes(torch.from_numpy(shares).to(splats.means), graph)
    return chosen


def _marked(scenery: Scenery, mark: Mark) -> Bool[Tensor, "N"]:
    """The splats under a click or in a box."""
    splats = scenery.splats
    scenery.points(mark)  # says so where there is nothing
    if not mark.view:
        lower, upper = torch.tensor(mark.numbers).to(splats.means).chunk(2)
        return ((splats.means >= lower) & (splats.means <= upper)).all(1)
    camera = scenery.cameras[scenery.views.index(mark.view)]
    x, y = torch.arange(camera.width) + 0.5, torch.arange(camera.height)[:, None] + 0.5
    if len(mark.numbers) == 2:
        inside = (x - mark.numbers[0]) ** 2 + (y - mark.numbers[1]) ** 2 <= CLICK_RADIUS**2
    else:
        x0, y0, x1, y1 = mark.numbers
        inside = ((x - (x0 + x1) / 2).abs() <= (x1 - x0) / 4) & ((y - (y0 + y1) / 2).abs() <= (y1 - y0) / 4)
    weights = lift(project(splats, camera), inside.to(splats.means)[None, ..., None]).sums[0, :, 0]
    return weights > SEED_SHARE * weights.max()


def _costs(
    marked: Sequence[tuple[Mark, Bool[np.ndarray, "U"]]],
    scenery: Scenery,
    usable: Int[Tensor, "U"],
    colors: Float[np.ndarray, "U 3"],
    edges: Any,
    tolerance: float,
) -> Float[np.ndarray, "U"]:
    """How far it is from these marks, longer through other colours; infinite where their region does not get to."""
    cost = np.full(len(colors), np.inf)
    for mark, seeds in marked:
        if not mark.view:
            cost[seeds] = 0
            continue
        own = _distances(colors, colors[seeds])
        own[seeds] = 0
        open_to = own < tolerance
        if len(mark.numbers) == 4:
            open_to &= seeds | _inside(scenery, mark)[usable].cpu().numpy()
        cost = np.minimum(cost, _ways(edges, own / tolerance, open_to, seeds))
    return cost


def _inside(scenery: Scenery, mark: Mark) -> Bool[Tensor, "N"]:
    """Splats whose centres lie in a box of a view, however deep."""
    xy, z = to_pixels(scenery.cameras[scenery.views.index(mark.view)], scenery.splats.means)
    lower, upper = torch.tensor(mark.numbers).to(xy).chunk(2)
    return ((xy[0] >= lower) & (xy[0] <= upper)).all(1) & (z[0] > 0)


def _smooth_colors(splats: Splats, graph: Graph) -> Float[np.ndarray, "U 3"]:
    """CIELAB with half of the lightness, which shading changes most; half own and half of the neighbours."""
    rgb = sh_to_rgb(splats.sh[:, 0]).clamp(0, 1)
    mixed = (rgb + graph.mean(rgb)) / 2
    return lab(mixed.double().cpu().numpy()) * np.array([0.5, 1, 1])


def _edges(splats: Splats, graph: Graph) -> Any:
    """Steps from splat to neighbour that are not over a gap: both reach each other, or lie as near as most do."""
    from scipy.sparse import coo_array

    count, k = graph.neighbors.shape
    lengths = (splats.means[graph.neighbors] - splats.means[:, None]).norm(dim=-1)
    reach = REACH * splats.scales.amax(1)
    near = LONGEST_STEP * lengths[:, :4].mean(1).median()
    kept = (lengths <= (reach[:, None] + reach[graph.neighbors]).clamp(min=near)).cpu().numpy().ravel()
    starts, ends = np.repeat(np.arange(count), k)[kept], graph.neighbors.cpu().numpy().ravel()[kept]
    # a length of 0 would be no edge
    far = lengths.double().cpu().numpy().ravel()[kept] + 1e-6 * float(near)
    return coo_array((far, (starts, ends)), shape=(count, count)).tocsr()


def _distances(colors: Float[np.ndarray, "U 3"], palette: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "U"]:
    """To the nearest of some of the palette's colours."""
    some = palette[np.linspace(0, len(palette) - 1, min(len(palette), MOST_COLORS)).round().astype(int)]
    return np.sqrt(((colors[:, None] - some) ** 2).sum(-1)).min(1)


def _ways(
    edges: Any,
    strangeness: Float[np.ndarray, "U"],
    open_to: Bool[np.ndarray, "U"],
    seeds: Bool[np.ndarray, "U"],
) -> Float[np.ndarray, "U"]:
    """Lengths of the shortest ways from the seeds over open splats; strange ones count as longer."""
    from scipy.sparse.csgraph import dijkstra

    rows = np.flatnonzero(open_to)
    within = edges[rows][:, rows]
    within.data = within.data * (1 + STRANGE * strangeness[rows][within.indices] ** 2)
    out = np.full(len(open_to), np.inf)
    out[rows] = dijkstra(within, directed=False, indices=np.flatnonzero(seeds[rows]), min_only=True)
    return out


def _without_holes(shares: Float[Tensor, "U L"], graph: Graph) -> Bool[Tensor, "U L"]:
    """Three rounds of votes among neighbours: single splats of another colour follow those around them."""
    for _ in range(3):
        shares = (shares + graph.mean(shares)) / 2
    return shares > 0.5
