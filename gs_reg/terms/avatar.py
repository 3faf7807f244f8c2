"""The loss terms of head avatars: silhouettes, and what keeps fields, Gaussians and tracked codes in their bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.sums import ordered_mean
from gs_reg.terms import Context
from gs_reg.terms.laplacian import Laplacian
from gs_reg.terms.photometric import L1, Ssim
from gs_reg.types import Views


@runtime_checkable
class Gated(Protocol):
    """Gaussians with gates on the groups of a code."""

    def gates(self) -> Float[Tensor, "N G"] | None:
        """0 = closed, 1 = open; None without gates."""
        ...


@runtime_checkable
class Distilled(Protocol):
    """A coarse field that was distilled before training."""

    def distilled_offset(self, views: Views, rows: Int[Tensor, "M"]) -> Float[Tensor, "M 3"] | None:
        """Of the field as it was, at the present centres, without gradients; None without a coarse field."""
        ...


@runtime_checkable
class Tracked(Protocol):
    """Codes of frames that were tracked and are corrected."""

    def code_correction(self, views: Views) -> Float[Tensor, "D"]: ...


@dataclass(frozen=True)
class Silhouette:
    """Mean absolute difference of accumulated alpha and the mask."""

    needs_views: ClassVar[tuple[str, ...]] = ("alphas",)

    weight: float = 0.1
    """Weight of the difference of silhouettes."""

    def __call__(self, context: Context) -> Tensor:
        if context.views.alphas is None:
            raise ValueError("silhouette: expected views with alphas")
        return ordered_mean((context.image.alphas[..., 0] - context.views.alphas).abs())


@dataclass(frozen=True)
class OpenGates:
    """Mean of the gates."""

    needs: ClassVar[type] = Gated

    weight: float = 1e-3
    """Weight of gates that are open."""

    def __call__(self, context: Context) -> Tensor:
        gates = context.model.gates()
        return context.image.colors.new_zeros(()) if gates is None else ordered_mean(gates)


@dataclass(frozen=True)
class HeadInputs:
    """Mean square of what the detail field's heads put into tanh."""

    weight: float = 1e-3
    """Weight of the detail field's outputs."""

    def __call__(self, context: Context) -> Tensor:
        inputs = context.splats.extra.get("head_inputs")
        return context.image.colors.new_zeros(()) if inputs is None else ordered_mean(inputs.square())


@dataclass(frozen=True)
class NearDistilled:
    """Mean squared distance of the coarse field from what it was, at some Gaussians."""

    needs: ClassVar[type] = Distilled

    weight: float = 1.0
    """Weight of the distance of the coarse field from the distilled one; it falls to `final` times this."""
    final: float = 0.1
    """Factor on the weight at the last step."""
    samples: int = 2048
    """Gaussians it is measured at in a step."""

    def __call__(self, context: Context) -> Tensor:
        coarse = context.splats.extra["coarse"]
        random = torch.Generator().manual_seed(context.step)
        rows = torch.randint(len(coarse), (min(self.samples, len(coarse)),), generator=random).to(coarse.device)
        before = context.model.distilled_offset(context.views, rows)
        if before is None:
            return coarse.new_zeros(())
        schedule = self.final + (1 - self.final) * (1 + math.cos(math.pi * context.progress)) / 2
        return schedule * ordered_mean((coarse[rows] - before).square().sum(1))


@dataclass(frozen=True)
class LargeAxes:
    """Mean square of how far the longest axis exceeds `limit`."""

    weight: float = 1.0
    """Weight of long axes."""
    limit: float = 0.02
    """Length that costs nothing, in units of the model's frame."""

    def __call__(self, context: Context) -> Tensor:
        return ordered_mean((context.splats.scales.amax(1) - self.limit).clamp_min(0).square())


@dataclass(frozen=True)
class Needles:
    """Mean square of how far the ratio of the longest axis to the shortest exceeds `limit`."""

    weight: float = 1e-3
    """Weight of the ratio of axes."""
    limit: float = 10.0
    """Ratio that costs nothing."""

    def __call__(self, context: Context) -> Tensor:
        log_scales = context.splats.log_scales
        ratio = (log_scales.amax(1) - log_scales.amin(1)).clamp_max(10.0).exp()
        return ordered_mean((ratio - self.limit).clamp_min(0).square())


@dataclass(frozen=True)
class CodePrior:
    """Squared length of the correction of the frame's code."""

    needs: ClassVar[type] = Tracked

    weight: float = 1e-2
    """Weight of corrections of tracked codes."""

    def __call__(self, context: Context) -> Tensor:
        return context.model.code_correction(context.views).square().sum()


@dataclass(frozen=True)
class AvatarTerms:
    l1: L1 = L1()
    ssim: Ssim = Ssim()
    silhouette: Silhouette = Silhouette()
    laplacian: Laplacian = Laplacian(weight=1.0)
    gates: OpenGates = OpenGates()
    heads: HeadInputs = HeadInputs()
    near: NearDistilled = NearDistilled()
    large: LargeAxes = LargeAxes()
    needles: Needles = Needles()
    codes: CodePrior = CodePrior()
