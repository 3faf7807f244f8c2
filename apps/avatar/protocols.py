"""Figures by protocol, never mixed: the held-out sequence in training cameras, training frames in held-out cameras."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.data_tools.heads.types import Capture
from gs_reg.metrics import Lpips, psnr, ssim, white_outside
from gs_reg.types import Views

from .regions import NAMES

Name = Literal["self_reenactment", "novel_view"]
LEAST = 64
"""Pixels that a mask must have for its image to count: of fewer, a PSNR says nothing."""

Draw = Callable[[Views], Float[Tensor, "C H W 3"]]
"""Pictures of an avatar over white, at the tracked code and pose of the views' frame."""
Masks = Callable[[Views], Mapping[str, Bool[Tensor, "C H W"]]]


@dataclass(frozen=True)
class Protocol:
    """What is drawn and compared."""

    name: Name
    frames: tuple[int, ...]
    cameras: tuple[int, ...]


def protocols(capture: Capture, most_frames: int) -> dict[Name, Protocol]:
    """Both, each over at most so many frames, evenly picked; one that the split leaves nothing for is absent."""
    found: dict[Name, Protocol] = {}
    if len(capture.test_frames):
        frames = evenly(capture.test_frames, most_frames)
        found["self_reenactment"] = Protocol("self_reenactment", frames, tuple(capture.train_cameras))
    if len(capture.test_cameras):
        frames = evenly(capture.train_frames, most_frames)
        found["novel_view"] = Protocol("novel_view", frames, tuple(capture.test_cameras))
    return found


def evenly(items: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of the items, both ends included."""
    if len(items) <= most:
        return tuple(items)
    return tuple(items[round(i * (len(items) - 1) / max(most - 1, 1))] for i in range(most))


def over_white(views: Views) -> Float[Tensor, "C H W 3"]:
    """The photos with their background taken away."""
    if views.alphas is None:
        return views.photos
    alphas = views.alphas[..., None]
    return views.photos * alphas + (1 - alphas)


@dataclass
class Tally:
    """Sums of one mask over the images so far."""

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)
    squared: float = 0.0
    pixels: float = 0.0

    def add(self, image: Tensor, truth: Tensor, mask: Bool[Tensor, "C H W"], lpips: Lpips | None) -> None:
        """Compares images, leaving out those in which the mask has too few pixels."""
        kept = mask.flatten(1).sum(1) >= LEAST
        if not bool(kept.any()):
            return
        image, truth, mask = image[kept], truth[kept], mask[kept]
        self.psnr += psnr(image, truth, mask).tolist()
        self.ssim += ssim(image, truth, mask).tolist()
        if lpips is not None:
            self.lpips += lpips(white_outside(image, mask), white_outside(truth, mask)).tolist()
        self.squared += float(((image - truth).square().mean(-1) * mask).sum(dtype=torch.float64))
        self.pixels += float(mask.sum())

    def figures(self) -> dict[str, Any]:
        """PSNR as the mean over images, and of the mean squared error over all pixels; null where nothing counted."""
        return {
            "psnr": _mean(self.psnr),
            "psnr_pooled": None if not self.pixels else round(-10 * math.log10(self.squared / self.pixels + 1e-12), 4),
            "ssim": _mean(self.ssim),
            "lpips": _mean(self.lpips),
            "images": len(self.psnr),
        }


@torch.no_grad()
def measure(
    draw: Draw,
    capture: Capture,
    protocol: Protocol,
    masks: Masks,
    lpips: Lpips | None = None,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
    show: Callable[[Views, Tensor, Tensor], None] = lambda _views, _image, _truth: None,
) -> dict[str, Any]:
    """Figures of a protocol by mask. `show` gets each frame's views, pictures and photos, for a report."""
    tallies = {name: Tally() for name in NAMES}
    for number, frame in enumerate(protocol.frames):
        progress(protocol.name.replace("_", " "), number / len(protocol.frames))
        views = capture.views(frame, protocol.cameras)
        image, truth = draw(views).clamp(0, 1).cpu(), over_white(views)
        for name, mask in masks(views).items():
            tallies[name].add(image, truth, mask, lpips)
        show(views, image, truth)
    by_mask = {name: tally.figures() for name, tally in tallies.items()}
    return {
        **{name: by_mask[name] for name in ("full", "head", "face")},
        "regions": {name: by_mask[name] for name in ("mouth", "eyes")},
        "frames": len(protocol.frames),
        "cameras": len(protocol.cameras),
    }


def jitter(tracks: Float[Tensor, "T P 3"]) -> float | None:
    """Mean length of the second difference of points over consecutive frames, in their units; None below 3 frames."""
    if len(tracks) < 3:
        return None
    return float((tracks[2:] - 2 * tracks[1:-1] + tracks[:-2]).norm(dim=-1).mean())


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
