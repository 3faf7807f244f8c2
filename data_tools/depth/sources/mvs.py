"""Depth from the photos alone, by multi-view stereo without weights (`--depth.source ours`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gs_reg.types import Views

from ..mvs.estimate import estimate_depths
from ..types import DepthConfig, Progress
from .types import Depths


class MultiViewStereo:
    """`why` says, where `auto` chose this source, what it had to do without."""

    def __init__(self, config: DepthConfig, why: str = ""):
        self._config = config
        points = f"ALIKED keypoints ({config.aliked})" if config.aliked else "SIFT keypoints, no weights"
        what = f"plane sweep over the photos, {points}"
        self.about: Mapping[str, str] = {"source": "ours", "what": what, **({"why": why} if why else {})}

    def __call__(self, views: Sequence[Views], progress: Progress | None = None) -> Depths:
        return Depths(estimate_depths(views, self._config, progress), {})
