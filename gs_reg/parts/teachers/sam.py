"""The teachers `sam2`, asked with points and boxes, and `sam3`, asked with the parts' names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras

from ..prompts import PartPrompt
from ..types import PartMaps
from .base import PartTeacher, TeacherSetting, needed_splats, prepared
from .lifting import Asked, Scenery
from .marks import check_marks
from .networks import NEEDED, SAM2, Network, as_bytes

LEAST_SCORE = 0.3
"""Of an instance that sam3 finds."""
SURE = 0.5
"""Of a map whose peak another teacher hands to sam2."""


class Sam2Masks:
    """SAM 2 for pictures: each question's mask as probabilities, and the IoU that the network expects of it."""

    def __init__(self, teacher: str, setting: TeacherSetting):
        self.network = Network(teacher, SAM2, "Sam2Model", setting.folders, setting.device)

    def __call__(
        self, picture: Float[Tensor, "H W 3"], questions: Sequence[Asked | None]
    ) -> tuple[Float[Tensor, "L H W"], Float[Tensor, "L"]]:
        """No question: an empty mask of no confidence."""
        maps, scores = picture.new_zeros(len(questions), *picture.shape[:2]), picture.new_zeros(len(questions))
        if not any(questions):
            return maps, scores
        image = as_bytes(picture)
        seen = self.network.inputs(images=image)
        embeddings = self.network.model.get_image_embeddings(seen["pixel_values"])
        for row, asked in enumerate(questions):
            if asked is None:
                continue
            inputs = self.network.inputs(images=image, **asked.inputs())
            given = {k: inputs[k] for k in ("input_points", "input_labels", "input_boxes") if k in inputs}
            # one point is of several wholes: the network's best of three
            several = len(asked.points) == 1 and asked.box is None
            out = self.network(image_embeddings=embeddings, multimask_output=several, **given)
            best = int(out.iou_scores[0, 0].argmax())
            logits = out.pred_masks[0, 0, best].float()[None, None]
            size = (picture.shape[0], picture.shape[1])
            maps[row] = F.interpolate(logits, size=size, mode="bilinear")[0, 0].sigmoid().to(maps)
            scores[row] = out.iou_scores[0, 0, best].float().clamp(0, 1).to(scores)
        return maps, scores


class Sam2:
    """Points and boxes come from the user's marks, lifted to 3D and seen from each view, or from peaks of a teacher."""

    def __init__(self, setting: TeacherSetting, source: PartTeacher | None = None):
        self.setting, self.source = setting, source
        self.masks: Sam2Masks | None = Sam2Masks("sam2", setting)
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        if self.source is None:
            needed_splats(self.setting, "sam2")
            check_marks(self.setting.marks, prompt.parts, self.setting.views)
        else:
            self.source.prepare(prompt)
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt, masks = prepared(self.prompt), self.masks
        assert masks is not None
        if self.source is None:
            splats = needed_splats(self.setting, "sam2")
            questions = Scenery(splats, cameras, self.setting.views).questions(self.setting.marks, prompt.parts)
        else:
            said = self.source.maps(pictures, alphas, cameras)
            questions = [peaks(maps, weights) for maps, weights in zip(said.maps, said.weights, strict=True)]
        answers = [masks(picture, asked) for picture, asked in zip(pictures, questions, strict=True)]
        maps, weights = (torch.stack(part) for part in zip(*answers, strict=True))
        self.notes = {"asked": sum(asked is not None for of_view in questions for asked in of_view)}
        return PartMaps(prompt.parts, maps * alphas[:, None], weights)

    def close(self) -> None:
        self.masks = None
        if self.source is not None:
            self.source.close()


def peaks(maps: Float[Tensor, "L H W"], weights: Float[Tensor, "L"]) -> list[Asked | None]:
    """The highest pixel of each part, with those of the other parts as what it is not."""
    width = maps.shape[-1]
    tops, places = maps.flatten(1).max(1)
    points = torch.stack([places % width + 0.5, places // width + 0.5], 1)
    sure = (tops >= SURE) & (weights > 0)
    out: list[Asked | None] = []
    for row in range(len(maps)):
        order = [row, *(other for other in range(len(maps)) if other != row and sure[other])]
        labels = torch.tensor([1] + [0] * (len(order) - 1))
        out.append(Asked(points[order].cpu(), labels) if sure[row] else None)
    return out


class Sam3:
    """All instances of a part's name; the best one's score is the confidence, none found = the view says nothing."""

    def __init__(self, setting: TeacherSetting):
        self.network: Network | None = Network("sam3", NEEDED["sam3"][0], "Sam3Model", setting.folders, setting.device)
        self.prompt: PartPrompt | None = None
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        self.prompt = prompt

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        prompt = prepared(self.prompt)
        found = [self._found(picture, prompt.parts) for picture in pictures]
        maps, weights = (torch.stack(part).to(pictures) for part in zip(*found, strict=True))
        return PartMaps(prompt.parts, maps * alphas[:, None], weights)

    def close(self) -> None:
        self.network = None

    def _found(self, picture: Tensor, parts: Sequence[str]) -> tuple[Float[Tensor, "L H W"], Float[Tensor, "L"]]:
        network = self.network
        assert network is not None
        image, size = as_bytes(picture), (picture.shape[0], picture.shape[1])
        seen = network.model.get_vision_features(pixel_values=network.inputs(images=image)["pixel_values"])
        maps, scores = [], []
        for part in parts:
            words = network.inputs(text=part, images=image)
            out = network(vision_embeds=seen, input_ids=words["input_ids"], attention_mask=words["attention_mask"])
            score = out.pred_logits[0].sigmoid()
            if out.presence_logits is not None:
                score = score * out.presence_logits[0].sigmoid()
            kept = score > LEAST_SCORE
            masks = out.pred_masks[0][kept].float().sigmoid()
            union = masks.amax(0) if len(masks) else out.pred_masks.new_zeros(out.pred_masks.shape[-2:])
            maps.append(F.interpolate(union[None, None], size=size, mode="bilinear")[0, 0])
            scores.append(score[kept].amax() if len(masks) else score.new_zeros(()))
        return torch.stack(maps), torch.stack(scores)
