"""A frame of a baked avatar, for `gs-reg bench avatar`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gs_reg.bake import BakeConfig, Baked, bake, sampled_codes
from gs_reg.priors.types import UNIT_M
from gs_reg.render import render

from .avatar_scene import AvatarScene

CODES = 24
"""That the bake of the bench is made from; how good it is does not matter here."""


def baked_frame(scene: AvatarScene) -> Callable[[], Tensor]:
    avatar = scene.avatar
    names = [f"c{i}" for i in range(scene.codes.shape[1])]
    with torch.no_grad():
        codes = sampled_codes(scene.codes, CODES)
        basis = bake(avatar.deformed, codes, avatar.neutral, names, UNIT_M, BakeConfig(rank=20))
        camera = avatar.cameras(scene.views[0]).detach()
    baked = Baked(basis)

    def run() -> Tensor:
        with torch.no_grad():
            return render(baked(scene.codes[2]), camera).colors

    return run
