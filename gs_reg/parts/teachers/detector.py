"""The teacher `grounded`: GroundingDINO finds boxes of a part's name, SAM 2 the masks in them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras

from ..prompts import PartPrompt
from ..types import PartMaps
from .base import TeacherSetting, prepared
from .lifting import Asked
from .networks import NEEDED, Network, as_bytes
from .sam import Sam2Masks

LEAST_SCORE = 0.25
"""Of a box."""
MOST_BOXES = 6
"""Of a part in a view, the best ones."""


class Grounded:
    """The union of the masks of all boxes; the best box's score is the confidence, no box = the view says nothing."""

    def __init__(self, setting: TeacherSetting):
        kind, of_boxes = "GroundingDinoForObjectDetection", NEEDED["grounded"][0]
        self.detector: Network | None = Network("grounded", of_boxes, kind, setting.folders, setting.device)
        self.masks: Sam2Masks | None = Sam2Masks("grounded", setting)
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt, masks = prepared(self.prompt), self.masks
        assert masks is not None
        maps = pictures.new_zeros(len(pictures), len(prompt.parts), *pictures.shape[1:3])
        weights, boxes = maps.new_zeros(maps.shape[:2]), 0
        for c, picture in enumerate(pictures):
            for row, part in enumerate(prompt.parts):
                found, scores = self._boxes(picture, part)
                if len(found):
                    asked = [Asked(found.new_zeros(0, 2), torch.zeros(0, dtype=torch.long), box) for box in found]
                    maps[c, row], weights[c, row] = masks(picture, asked)[0].amax(0), scores.max()
                    boxes += len(found)
        self.notes = {"boxes": boxes}
        return PartMaps(prompt.parts, maps * alphas[:, None], weights)

    def close(self) -> None:
        self.detector = self.masks = None

    def _boxes(self, picture: Tensor, part: str) -> tuple[Float[Tensor, "n 4"], Float[Tensor, "n"]]:
        """In pixels, the best first."""
        network = self.detector
        assert network is not None
        # the network was trained with lower case and a full stop
        inputs = network.inputs(images=as_bytes(picture), text=f"{part.lower()}.")
        out = network(**inputs)
        scores = out.logits[0].sigmoid().amax(-1).float().cpu()
        best = scores.topk(min(MOST_BOXES, len(scores)))
        kept = best.indices[best.values > LEAST_SCORE]
        x, y, w, h = out.pred_boxes[0].float().cpu()[kept].unbind(-1)
        sides = torch.tensor([picture.shape[1], picture.shape[0]] * 2)
        corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1).clamp(0, 1)
        return corners * sides, scores[kept]
