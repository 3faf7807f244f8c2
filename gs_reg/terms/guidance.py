"""Guidance of an edit by a diffusion model (SDS), in random views of the part, and its balance against the anchors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.geometry import project
from gs_reg.terms import Context, evaluate, scalar_value
from gs_reg.terms.fog import LargeScales, OpacityEntropy, part_of
from gs_reg.terms.photometric import L1, Ssim
from gs_reg.types import Cameras, Splats

Sds = Callable[[Float[Tensor, "B H W 3"], Bool[Tensor, "B H W"], float, torch.Generator], Tensor]
"""Score distillation: pictures, masks of the part, progress from 0 to 1 and a generator on the CPU give a scalar."""
MOST_FILLED = 0.9
"""Of the side of a crop."""


@runtime_checkable
class Balanced(Protocol):
    """A buffer `balance` for the measured weight of guidance."""

    balance: Tensor


@dataclass(frozen=True)
class Guidance:
    """SDS on a random one of the cameras; seed and step alone decide which, and the noise."""

    needs: ClassVar[type] = Balanced

    sds: Sds
    cameras: Cameras
    size: int
    """Side in pixels of the pictures that the diffusion model sees."""
    weight: float = 1.0
    seed: int = 0
    crops: float = 0.5
    """Share of the draws that are cropped to the part."""
    fill: float = 0.4
    """Share of the frame that the square around the part takes at least in these."""

    def __call__(self, context: Context) -> Tensor:
        return self.value(context, *self.draw(context))

    def draw(self, context: Context) -> tuple[Float[Tensor, "1 S S 3"], Bool[Tensor, "1 S S"]]:
        """The picture of this step, differentiable, and the mask of the part in it."""
        cameras = self.camera(context.step, context.splats)
        image = replace(context.shot, features=("edited",)).draw(context.splats, cameras)
        assert image.features is not None
        return image.colors, image.features.detach()[..., 0] >= 0.5

    def value(self, context: Context, picture: Tensor, mask: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + 2 * context.step + 1)
        return self.sds(picture, mask, context.progress, generator)

    def camera(self, step: int, splats: Splats) -> Cameras:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + 2 * step)
        index = int(torch.randint(len(self.cameras), (), generator=generator))
        share, filled = torch.rand(2, generator=generator).tolist()
        camera = self.cameras[index]
        side: float = min(camera.width, camera.height)
        uv, z = (column[0] for column in project(camera, part_of(splats).means.detach()))
        uv = uv[z > 0]
        if len(uv) == 0:
            return camera.cropped(0, 0, int(side), int(side)).resized(self.size, self.size)
        low, high = uv.amin(0), uv.amax(0)
        if share < self.crops:
            least = math.sqrt(self.fill)
            # whole pixels: rounded down, so that the part fills no less
            wanted = float((high - low).max()) / (least + (MOST_FILLED - least) * filled)
            side = min(side, max(1, math.floor(wanted)))
        corner = ((low + high) / 2 - side / 2).round().tolist()
        left, top = (
            int(min(max(at, 0), extent - side))
            for at, extent in zip(corner, (camera.width, camera.height), strict=True)
        )
        return camera.cropped(left, top, int(side), int(side)).resized(self.size, self.size)


@dataclass(frozen=True)
class EditTerms:
    """What holds an edit to its anchors, whose masks are those of the views, and keeps fog away."""

    l1: L1 = L1(1.0)
    ssim: Ssim = Ssim(0.0)
    entropy: OpacityEntropy = OpacityEntropy()
    fog: LargeScales = LargeScales()


@dataclass(frozen=True)
class EditCost:
    """The terms, and guidance with a weight at which its gradient in the picture is 1/ratio of the anchors'.

    RoMaP weighs the anchors against guidance; Adam does not see the difference, and here the fog guard keeps its share.
    """

    terms: EditTerms = field(default_factory=EditTerms)
    guidance: Guidance | None = None
    ratio: float = 3.0
    every: int = 50
    """Steps from one measurement to the next."""
    smoothing: float = 0.9
    """Weight of the earlier measurements, once there are some; before, all count alike."""

    def __call__(self, context: Context) -> Mapping[str, Tensor]:
        values = dict(evaluate(self.terms, context))
        if self.guidance is None or self.guidance.weight == 0:
            return values
        picture, mask = self.guidance.draw(context)
        sds = scalar_value("term guidance", self.guidance.value(context, picture, mask))
        if self.terms.l1.weight == 0 and self.terms.ssim.weight == 0:  # nothing to be balanced against
            return values | {"guidance": self.guidance.weight * sds}
        if context.step % self.every == 0 or float(context.model.balance) == 0:
            self._measure(context, values, sds, picture, mask)
        return values | {"guidance": self.guidance.weight * context.model.balance.clone() * sds}

    def _measure(self, context: Context, values: dict[str, Tensor], sds: Tensor, picture: Tensor, mask: Tensor) -> None:
        anchors = _norm(
            values.get("l1", sds.new_zeros(())) + values.get("ssim", 0), context.image.colors, context.views.masks
        )
        guided = _norm(sds, picture, mask)
        if not (anchors > 0 and guided > 0 and math.isfinite(anchors + guided)):
            return  # one of the two shows nothing of the part: the weight stays
        balance = context.model.balance
        wanted = math.log(anchors / guided / self.ratio)
        earlier = 0.0 if float(balance) == 0 else min(self.smoothing, 1 - 1 / (1 + context.step // self.every))
        before = wanted if earlier == 0 else math.log(float(balance))
        with torch.no_grad():
            # of logarithms: a single step with hardly any gradient does not count for all others
            balance.fill_(math.exp(earlier * before + (1 - earlier) * wanted))


def _norm(value: Tensor, picture: Tensor, mask: Tensor | None) -> float:
    """Of the value's gradient in the picture, inside the mask."""
    if not value.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(value, picture, retain_graph=True, allow_unused=True)
    if gradient is None:
        return 0.0
    return float((gradient if mask is None else gradient * mask[..., None]).norm())
