"""How well parts are found: the label field beside the maps that it is made from, and without each of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.parts.decision import decide, masks
from gs_reg.parts.evidence import Evidence, gather
from gs_reg.parts.field import FieldConfig, fit_evidence
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.store import mean_iou_3d
from gs_reg.parts.teachers.base import PartTeacher
from gs_reg.parts.types import PartMaps
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats, Views

from ...teacher.part_maps import iou
from .objects import BenchObject, photographed

LABEL_RINGS = (0.0, 20.0, 40.0)
GREY = 0.5
SEEN = 1e-3
"""Least sum of blending weights of a Gaussian that counts."""
VARIANTS: dict[str, FieldConfig] = {
    "linear": FieldConfig(),
    "joint": FieldConfig(solver="joint"),
    "votes by shares": FieldConfig(hard=False),
    "degree 0": FieldConfig(degree=0),
    "degree 1": FieldConfig(degree=1),
    "degree 2": FieldConfig(degree=2),
    "joint, no anchors": FieldConfig(solver="joint", anchors=False),
    "joint, not soft": FieldConfig(solver="joint", soft=False),
    "adam": FieldConfig(solver="adam", view_rounds=0),
}


@dataclass(frozen=True)
class PartFigures:
    """Mean IoU over the parts of an object."""

    miou: float
    """Masks of the decision in held-out views, over views and parts."""
    miou_3d: float
    """Of the Gaussians that label views show."""
    miou_maps: float
    """The teacher's own maps in the label views, each view by itself."""


def label_views(item: BenchObject, views: int, size: int) -> Views:
    """Renders over grey that the teacher looks at: black parts do not show over black."""
    cameras = orbit(views, size, LABEL_RINGS)
    image = render(item.splats, cameras, backgrounds=torch.full((views, 3), GREY))
    return Views(cameras, image.colors.clamp(0, 1), alphas=image.alphas[..., 0])


def taught(item: BenchObject, teacher: PartTeacher, views: Views) -> PartMaps:
    """What the teacher says of the object's parts."""
    teacher.prepare(PartPrompt(f"a photo of a {item.name}", item.item.parts))
    assert views.alphas is not None
    return teacher.maps(views.photos, views.alphas, views.cameras)


def part_figures(
    item: BenchObject, views: Views, maps: PartMaps, held_out: tuple[Views, Tensor], variants: Mapping[str, FieldConfig]
) -> Iterator[tuple[str, PartFigures]]:
    """Of each variant, by its name."""
    assert views.alphas is not None
    truth = true_pixels(item, views.cameras)
    own = iou(maps.shares(views.alphas).argmax(1), truth)
    gathered = {hard: gather(item.splats, views.cameras, maps, RenderConfig(), hard=hard) for hard in (False, True)}
    for name, c in variants.items():
        yield name, _figures(item, views.cameras, gathered[c.hard and c.solver != "adam"], held_out, c, own)


def _figures(
    item: BenchObject,
    cameras: Cameras,
    evidence: Evidence,
    held_out: tuple[Views, Tensor],
    config: FieldConfig,
    own: float,
) -> PartFigures:
    field = fit_evidence(evidence, config)
    decision = decide(item.splats, cameras, field)
    photos, truth = held_out
    shown = drawn_ids(item.splats, photos.cameras, decision.ids, len(evidence.maps.names))
    return PartFigures(
        iou(shown, truth),
        mean_iou_3d(decision, item.parts, field.seen > SEEN),
        own,
    )


def drawn_ids(splats: Splats, cameras: Cameras, ids: Int[Tensor, "N"], parts: int) -> Int[Tensor, "C H W"]:
    """The part whose mask covers each pixel, 0 = none."""
    out = torch.zeros(len(cameras), cameras.height, cameras.width, dtype=torch.long)
    for part in range(1, parts + 1):
        out[masks(splats, cameras, ids == part)] = part
    return out


def true_pixels(item: BenchObject, cameras: Cameras) -> Int[Tensor, "C H W"]:
    return photographed(item.item, item.look, cameras)[1]


def true_maps(truth: Int[Tensor, "C H W"], names: tuple[str, ...]) -> PartMaps:
    maps = F.one_hot(truth, len(names) + 1)[..., 1:].movedim(-1, 1).float()
    return PartMaps(names, maps, torch.ones(maps.shape[:2]))


def spoiled(maps: PartMaps, seed: int) -> PartMaps:
    """True maps made wrong by view: eroded or dilated at random, two parts swapped in one view of six, a tenth of the
    views missing."""
    generator = torch.Generator().manual_seed(seed)
    out, weights = maps.maps.clone(), maps.weights.clone()
    count, parts = out.shape[:2]
    for view in range(count):
        for part in range(parts):
            radius = int(torch.randint(0, 1 + max(1, out.shape[-1] // 40), (), generator=generator))
            sign = 1 if torch.rand((), generator=generator) < 0.5 else -1
            grown = F.max_pool2d(sign * out[view, part][None], 2 * radius + 1, 1, radius)[0]
            out[view, part] = sign * grown
        if view % 6 == 5 and parts > 1:
            a, b = torch.randperm(parts, generator=generator)[:2].tolist()
            out[view, [a, b]] = out[view, [b, a]]
    gone = torch.rand(count, generator=generator) < 0.1
    weights[gone] = 0
    return replace(maps, maps=out, weights=weights)
