"""What `gs-reg bench edit` works on: procedural objects with perfect maps, and a random small teacher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.data_tools.synthetic.objects.colors import random_paint
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import splats_of
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.diffusion.networks import NetworkConfig, Networks
from gs_reg.diffusion.patch_vae import build_vae, fit_basis
from gs_reg.parts.types import PartMaps
from gs_reg.render import composite, project
from gs_reg.types import Cameras, Splats

from ..teacher.batches import teacher_tokenizer
from ..teacher.export import pipeline_of

FAMILY, SEED = "robot", 1
MORE = 1.3
"""Gaussians sampled over those wanted: some lie hidden inside other solids and are left out."""


@dataclass(frozen=True)
class LabelScene:
    splats: Splats
    cameras: Cameras
    maps: PartMaps
    parts: Int[Tensor, "N"]
    """True part of each Gaussian, from 1."""


def label_scene(gaussians: int, views: int, size: int, labels: int) -> LabelScene:
    """An object of labels - 1 parts: the largest are halved until there are so many."""
    splats, cameras = object_splats(gaussians), orbit(views, size)
    parts = _divided(splats.extra["part"], splats.means, labels - 1)
    channels = F.one_hot(parts, labels).to(splats.means)[None]
    maps = torch.zeros(views, labels - 1, size, size)
    for view in range(views):
        picture, alpha = composite(project(splats, cameras[view]), channels)
        best = picture[0, ..., 1:].argmax(-1)
        maps[view] = F.one_hot(best, labels - 1).movedim(-1, 0) * (alpha[0, ..., 0] >= 0.5)
    names = tuple(f"part {i}" for i in range(1, labels))
    return LabelScene(splats, cameras, PartMaps(names, maps, torch.ones(views, labels - 1)), parts)


def object_splats(gaussians: int) -> Splats:
    """So many Gaussians of an object."""
    made = splats_of(make_object(FAMILY, SEED), random_paint(FAMILY, np.random.default_rng(0)), round(MORE * gaussians))
    rows = torch.randperm(len(made), generator=torch.Generator().manual_seed(0))[:gaussians]
    return made.rows(rows.sort().values)


def _divided(parts: Int[Tensor, "N"], means: Float[Tensor, "N 3"], count: int) -> Int[Tensor, "N"]:
    """So many parts: halves of the largest across their longest side, or the last ones taken together."""
    parts = parts.clamp(max=count)
    while (found := int(parts.max())) < count:
        rows = (parts == torch.bincount(parts).argmax()).nonzero()[:, 0]
        places = means[rows]
        along = places[:, (places.amax(0) - places.amin(0)).argmax()]
        parts[rows[along > along.median()]] = found + 1
    return parts


def random_teacher(size: int) -> DiffusionModel:
    """Of the small teacher's layout: what it says means nothing, but takes as long."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = NetworkConfig()
        tokenizer = teacher_tokenizer(config.tokens)
        networks = Networks(config, tokenizer, size)
        for p in networks.parameters():
            if not p.any():
                torch.nn.init.normal_(p, std=0.02)
        vae = build_vae(fit_basis(torch.rand(16, 64, 64, 3)), size)
        return DiffusionModel(pipeline_of(networks, vae, tokenizer), "cpu")
