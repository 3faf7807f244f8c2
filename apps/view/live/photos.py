"""The photos of a live page: one of them is chosen, looked at and measured."""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gs_reg.fit import Step
from gs_reg.io.opening import up_direction
from gs_reg.metrics import psnr
from gs_reg.types import Cameras, Views

from ..drawing import as_picture
from .subject import LivePhoto, Subject

MOST_PSNR = 120.0
"""dB that stand for a picture equal to its photo, as a curve has no place for infinity."""


class Photos:
    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._by_label = {_label(photo): photo for photo in subject.photos}
        held_out = [label for label, photo in self._by_label.items() if photo.held_out]
        self.label = (held_out or list(self._by_label))[0]
        """Of the chosen one."""
        cameras = [subject.to_page(photo.camera) for photo in subject.photos]
        self.up: Float[Tensor, "3"] = torch.tensor(up_direction(cameras))
        self._views = functools.lru_cache(maxsize=8)(self._loaded)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self._by_label)

    @property
    def chosen(self) -> LivePhoto:
        return self._by_label[self.label]

    @property
    def camera(self) -> Cameras:
        """Of the chosen photo, in the page."""
        return self._subject.to_page(self.chosen.camera).to(dtype=torch.float32)

    @property
    def distance(self) -> float:
        """From the camera of the chosen photo to what it looks at, in the page."""
        return self._subject.distance(self.camera)

    @property
    def pixels(self) -> UInt8[np.ndarray, "H W 3"]:
        """Of the chosen photo."""
        return as_picture(self._views(self.label).photos[0])

    def measure(self, step: Step) -> tuple[str, float]:
        """The label of the chosen photo, and its PSNR after this step, inside the mask where it has one."""
        label, subject = self.label, self._subject
        views = self._views(label)
        with torch.no_grad():
            picture = subject.draw(step, views, subject.background, False).clamp(0, 1)
        return label, float(psnr(picture[None], views.photos, views.masks).clamp_max(MOST_PSNR))

    def _loaded(self, label: str) -> Views:
        return self._by_label[label].load().to(self._subject.means.device)


def _label(photo: LivePhoto) -> str:
    return f"{photo.name} (held out)" if photo.held_out else photo.name
