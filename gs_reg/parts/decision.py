"""The one rule for which Gaussian belongs to which part, and for which pixels show a part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.parts.graph import Graph, make_graph
from gs_reg.parts.softness import softness, view_moments
from gs_reg.parts.types import Decision, LabelField
from gs_reg.render import RenderConfig, composite, lift, project
from gs_reg.types import Cameras, Splats


@dataclass(frozen=True)
class DecisionConfig:
    temperature: float = 0.15
    """Of labels, before they become probabilities."""
    neighbors: float = 0.5
    """Say of the neighbours in a Gaussian's probabilities, 0 to 1."""
    threshold: float = 0.5
    """Least probability with which a Gaussian belongs to a part."""
    island: int = 20
    """Connected groups of fewer Gaussians go to the parts around them."""
    island_share: float = 0.005
    """The same as a share of the part."""
    render: RenderConfig = RenderConfig()


@torch.no_grad()
def decide(splats: Splats, cameras: Cameras, field: LabelField, config: DecisionConfig = DecisionConfig()) -> Decision:
    """The part of every Gaussian, from its labels in the views that the field was made from."""
    moments = view_moments(field.sh, splats.means, cameras, visibility(splats, cameras, config.render))
    graph = make_graph(splats)
    own = _known((moments.mean / config.temperature).softmax(1), (moments.seen > 0) & (field.seen > 0), graph)
    chances = (1 - config.neighbors) * own + config.neighbors * graph.mean(own) if graph.weights.numel() else own
    best = chances.max(1)
    ids = torch.where(best.values >= config.threshold, best.indices, 0)
    return Decision(field.names, _without_islands(ids, graph, config), chances, softness(moments))


def visibility(splats: Splats, cameras: Cameras, config: RenderConfig) -> Float[Tensor, "C N"]:
    """Blending weights of each Gaussian summed over the pixels of each view."""
    one = splats.means.new_ones(1, cameras.height, cameras.width, 1)
    return torch.cat([lift(project(splats, camera, config), one).weights for camera in _each(cameras)])


@torch.no_grad()
def masks(
    splats: Splats, cameras: Cameras, chosen: Bool[Tensor, "N"], config: RenderConfig = RenderConfig()
) -> Bool[Tensor, "C H W"]:
    """The pixels that show the chosen Gaussians: those where their share of the drawn picture is one half at least."""
    channel = chosen.to(splats.means)[None, :, None]
    pictures = [composite(project(splats, camera, config), channel)[0][..., 0] for camera in _each(cameras)]
    return torch.cat(pictures) >= 0.5


def _each(cameras: Cameras) -> list[Cameras]:
    return [cameras[view] for view in range(len(cameras))]


def _known(chances: Float[Tensor, "N D"], seen: Bool[Tensor, "N"], graph: Graph) -> Float[Tensor, "N D"]:
    """What no view shows takes after its neighbours; where these are not shown either, it is background."""
    known = seen.to(chances)[:, None]
    around = graph.mean(torch.cat([chances * known, known], 1))
    nothing = torch.zeros_like(chances)
    nothing[:, 0] = 1
    borrowed = torch.where(around[:, -1:] > 0, around[:, :-1] / around[:, -1:].clamp_min(1e-12), nothing)
    return torch.where(seen[:, None], chances, borrowed)


def _without_islands(ids: Int[Tensor, "N"], graph: Graph, config: DecisionConfig) -> Int[Tensor, "N"]:
    """Small islands go to the parts around them, from their shores inwards; to the background where nothing is."""
    owner, sizes = graph.islands(ids)
    least = (config.island_share * torch.bincount(ids)[ids]).clamp_min(config.island)
    left = sizes[owner] < least  # holes of background as well
    ids = ids.masked_fill(left, 0)
    while left.any():
        votes = torch.nn.functional.one_hot(ids, int(ids.max()) + 1).to(graph.weights) * ~left[:, None]
        around = graph.mean(votes)
        reached = left & (around.sum(1) > 0)
        if not reached.any():
            break
        ids = torch.where(reached, around.argmax(1), ids)
        left = left & ~reached
    return ids
