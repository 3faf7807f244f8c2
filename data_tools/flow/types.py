"""What a source of optical flow is, and the flags that choose one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Views


@runtime_checkable
class Flow(Protocol):
    """Displacement in pixels of every pixel of `a` towards `b`; pixel centres at +0.5, NaN = no match."""

    about: Mapping[str, str]
    """What it is, in words that are printed and stored."""

    def __call__(self, a: Views, b: Views) -> Float[Tensor, "H W 2"]: ...


@dataclass(frozen=True)
class FlowConfig:
    """Where optical flow between training photos comes from."""

    source: Literal["dis", "raft", "files"] = "dis"
    """dis: OpenCV's, without weights; raft: torchvision's network; files: your own flow."""
    path: Path | None = None
    """raft: the weights file; files: the folder of A__B.npy."""


def of_other_size(flow: Float[Tensor, "H W 2"], size: tuple[int, int]) -> Float[Tensor, "H W 2"]:
    """Flow towards a photo that was resized to H x W, as flow towards that photo at its own `size` (height, width)."""
    height, width = flow.shape[:2]
    if size == (height, width):
        return flow
    ratio = torch.tensor([size[1] / width, size[0] / height])
    pixels = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1) + 0.5
    return (pixels + flow) * ratio - pixels
