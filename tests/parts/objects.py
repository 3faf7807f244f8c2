"""Procedural objects with what a perfect teacher would say of their renders, and with what a bad one would."""

import numpy as np
import torch
import torch.nn.functional as F

from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.data_tools.synthetic.objects.colors import random_paint
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import splats_of
from gs_reg.parts.types import PartMaps
from gs_reg.render import composite, project


def parts_seen(splats, cameras, count):
    """Part ids of the pixels of renders [C, H, W], 0 = background."""
    one_hot = F.one_hot(splats.extra["part"], count + 1).to(splats.means)[None]
    found = []
    for view in range(len(cameras)):
        picture, alpha = composite(project(splats, cameras[view]), one_hot)
        found.append(torch.where(alpha[0, ..., 0] >= 0.5, picture[0, ..., 1:].argmax(-1) + 1, 0))
    return torch.stack(found)


def labelled_object(family, count=4000, views=24, size=96, seed=0):
    """Splats, cameras and perfect maps."""
    item = make_object(family, seed)
    splats = splats_of(item, random_paint(family, np.random.default_rng(0)), count)
    cameras = orbit(views, size)
    ids = parts_seen(splats, cameras, len(item.parts))
    maps = F.one_hot(ids, len(item.parts) + 1)[..., 1:].movedim(-1, 1).float()
    return splats, cameras, PartMaps(item.parts, maps, torch.ones(maps.shape[:2]))


def wrong_by_view(good, pixels, seed=0):
    """Each mask eroded or dilated by up to so many pixels, two parts swapped in every sixth view, one view of six
    missing."""
    rng = np.random.default_rng(seed)
    maps, weights = good.maps.clone(), good.weights.clone()
    views, parts = weights.shape
    for view in range(views):
        for part in range(parts):
            by = int(rng.integers(-pixels, pixels + 1))
            grown = F.max_pool2d(np.sign(by) * maps[view, part][None], 2 * abs(by) + 1, 1, abs(by))[0]
            maps[view, part] = np.sign(by) * grown if by else maps[view, part]
    for view in range(0, views, 6):
        a, b = rng.choice(parts, 2, replace=False)
        maps[view, [a, b]] = maps[view, [b, a]]
    for view in rng.choice(views, views // 6, replace=False):
        maps[view], weights[view] = 0, 0
    return PartMaps(good.names, maps, weights)


def mean_iou(by_part):
    values = [value for value in by_part.values() if value is not None]
    return sum(values) / len(values)
