"""The teacher `gt:DIR`: true part ids, for tests and as the upper bound of what a teacher can give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.types import Cameras

from ..prompts import PartPrompt
from ..types import PartMaps
from .base import TeacherSetting, named_views, prepared
from .files import check_shape, read_grey

NAMES = "parts.json"


class TruePartIds:
    """DIR/<view>.png: grey or palette, the value is the part's id and 0 the background. Every view must have one.

    DIR/parts.json lists the names of ids 1, 2, ...; without it they are the parts of the prompt in their order.
    """

    def __init__(self, folder: Path, setting: TeacherSetting):
        self.folder, self.setting = folder, setting
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        missing = [view for view in self.setting.views if not (self.folder / f"{view}.png").is_file()]
        if missing:
            raise InputError(f"gt:{self.folder}: no {missing[0]}.png; expected part ids of every view as <view>.png")
        names = self._names(prompt)
        for part in prompt.parts:
            if part not in names:
                raise InputError(f"gt:{self.folder}: {NAMES} has no {part!r}; there are {', '.join(names)}")
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt, views = prepared(self.prompt), named_views(self.setting, len(pictures))
        names, (height, width) = self._names(prompt), pictures.shape[1:3]
        ids = torch.stack([read_ids(self.folder / f"{view}.png", width, height) for view in views])
        wanted = torch.tensor([names.index(part) + 1 for part in prompt.parts])
        maps = (ids[:, None] == wanted[:, None, None]).to(pictures)
        return PartMaps(prompt.parts, maps, maps.new_ones(maps.shape[:2]))

    def close(self) -> None:
        pass

    def _names(self, prompt: PartPrompt) -> tuple[str, ...]:
        path = self.folder / NAMES
        if not path.is_file():
            return prompt.parts
        with reading(path):
            return tuple(str(name) for name in json.loads(path.read_text(encoding="utf-8")))


def read_ids(path: Path, width: int, height: int) -> Int[Tensor, "H W"]:
    """The value of the nearest pixel, where the size is another one."""
    ids = torch.from_numpy(read_grey(path)[0].astype("int64"))
    check_shape(path, ids, width, height)
    return F.interpolate(ids[None, None].float(), size=(height, width), mode="nearest-exact")[0, 0].long()
