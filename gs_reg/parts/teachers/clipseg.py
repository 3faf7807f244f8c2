"""The teacher `clipseg`: a light network that takes the part's name as it is."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras

from ..prompts import PartPrompt
from ..types import PartMaps
from .base import TeacherSetting, prepared
from .networks import NEEDED, Network, as_bytes


class ClipSeg:
    """CLIPSeg's sigmoid for each part's name, times alpha; its own resolution, usually 352."""

    def __init__(self, setting: TeacherSetting):
        kind = "CLIPSegForImageSegmentation"
        self.network: Network | None = Network("clipseg", NEEDED["clipseg"][0], kind, setting.folders, setting.device)
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt = prepared(self.prompt)
        maps = torch.stack([self._maps(picture, prompt.parts) for picture in pictures]).to(pictures)
        maps = maps * alphas[:, None]
        return PartMaps(prompt.parts, maps, maps.new_ones(maps.shape[:2]))

    def close(self) -> None:
        self.network = None

    def _maps(self, picture: Float[Tensor, "H W 3"], parts: tuple[str, ...]) -> Float[Tensor, "L H W"]:
        assert self.network is not None
        words = list(parts)
        inputs = self.network.inputs(text=words, images=[as_bytes(picture)] * len(words), padding=True, truncation=True)
        logits = self.network(**inputs).logits.float()
        size = (picture.shape[0], picture.shape[1])
        return F.interpolate(logits[:, None], size=size, mode="bilinear")[:, 0].sigmoid()
