"""Dense inverse search (Kroeger et al. 2016) of OpenCV: flow without weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Views

from .types import of_other_size


class DisFlow:
    """OpenCV DIS, medium preset, down to the full resolution."""

    about: Mapping[str, str] = {"source": "dis", "what": "OpenCV DIS flow, no weights"}

    def __call__(self, a: Views, b: Views) -> Float[Tensor, "H W 2"]:
        import cv2

        solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        solver.setFinestScale(0)  # the preset stops at half the resolution
        first, second = (
            cv2.cvtColor((v.photos[0].clamp(0, 1) * 255).byte().numpy(), cv2.COLOR_RGB2GRAY) for v in (a, b)
        )
        # DIS takes two images of one size only
        resized = cv2.resize(second, first.shape[::-1], interpolation=cv2.INTER_AREA)
        start = np.empty((0, 0), np.float32)  # none
        flow = solver.calc(first, resized, start)
        return of_other_size(torch.from_numpy(np.asarray(flow)), (second.shape[0], second.shape[1]))
