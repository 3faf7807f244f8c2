"""nerfstudio's manager of whole photos, with an order that depends on the step alone, so that runs can be resumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nerfstudio.data.datamanagers.full_images_datamanager import (  # pyright: ignore[reportMissingImports]
    FullImageDatamanager,
    FullImageDatamanagerConfig,
)

from gs_reg.fit import shuffled


@dataclass
class GsRegDataManagerConfig(FullImageDatamanagerConfig):
    _target: type = field(default_factory=lambda: GsRegDataManager)
    cache_images: Literal["cpu", "gpu"] = "gpu"
    """gpu = the device of training, whichever it is; cpu pins memory, which fails without a CUDA driver."""
    cache_images_type: Literal["uint8", "float32"] = "uint8"


class GsRegDataManager(FullImageDatamanager):
    config: Any

    def next_train(self, step: int) -> tuple[Any, dict[str, Any]]:
        """The camera and the photo of a step."""
        data = dict(self.cached_train[(index := shuffled(len(self.cached_train), step, 0))])
        data["image"] = data["image"].to(self.device)
        camera = self.train_cameras[index : index + 1].to(self.device)
        camera.metadata = {**(camera.metadata or {}), "cam_idx": index}
        return camera, data
