"""From one head to another: what differs from the source's neutral face is added to the target's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.priors import HeadPose
from gs_reg.tensor_dataclass import TensorDataclass

NEUTRAL_FRAMES = 5
NEAR_REST = 0.15
"""Largest coefficient of a person's resting face as a phone tracks it; more is an expression."""
QUANTILES = 0.005, 0.995
WIDENED = 0.1
"""Share of the range by which a code may go beyond what was trained, ever more slowly."""
LEAST_MOTION = 0.4
"""Least motion of a source over the target's, channel by channel: gains stay below 2.5."""


@dataclass(frozen=True)
class Range(TensorDataclass):
    """What a target's codes did in training."""

    lo: Float[Tensor, "dim"]
    hi: Float[Tensor, "dim"]

    def soft_clamp(self, z: Float[Tensor, "*B dim"]) -> Float[Tensor, "*B dim"]:
        """z itself within the range; beyond it a tanh towards a tenth of the range further out."""
        room = WIDENED * (self.hi - self.lo)
        inside = z.clamp(self.lo, self.hi)
        beyond = z - inside
        safe = torch.where(room > 0, room, torch.ones_like(room))
        return inside + room * (beyond / safe).tanh()


@dataclass(frozen=True)
class Neutral(TensorDataclass):
    """A face at rest, and where the head is then."""

    codes: Float[Tensor, "dim"]
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]
    scale: Float[Tensor, ""]

    @staticmethod
    def of(
        codes: Float[Tensor, "T dim"],
        pose: HeadPose,
        reference: Float[Tensor, "dim"],
        frame: int | None = None,
    ) -> Neutral:
        """The mean of the five frames nearest to `reference`, the prior's neutral, or the frame that is picked."""
        rows = neutral_frames(codes, reference) if frame is None else torch.tensor([frame])
        near = pose[rows]
        u, _, vh = torch.linalg.svd(near.rotation.double().mean(0))
        sign = torch.linalg.det(u @ vh)
        rotation = (u * u.new_tensor([1, 1, float(sign)])) @ vh
        return Neutral(codes[rows].mean(0), rotation.to(codes), near.translation.mean(0), near.scale.mean())


@dataclass(frozen=True)
class Retarget(TensorDataclass):
    source: Neutral
    target: Neutral
    range: Range
    gain: Float[Tensor, "dim"] | None = None
    """Of each channel's motion; None = 1."""

    def codes(self, z: Float[Tensor, "*B dim"]) -> Float[Tensor, "*B dim"]:
        """The target's codes: neutral stays neutral, and nothing goes far beyond what was trained."""
        motion = z - self.source.codes
        return self.range.soft_clamp(self.target.codes + (motion if self.gain is None else self.gain * motion))

    def pose(self, pose: HeadPose) -> HeadPose:
        """The source's turns and moves from its own neutral pose, made from the target's."""
        target_from_source = self.target.rotation @ self.source.rotation.mT
        ratio = self.target.scale / self.source.scale
        moves = (pose.translation - self.source.translation) @ target_from_source.mT * ratio
        return HeadPose(
            target_from_source @ pose.rotation,
            self.target.translation + moves,
            pose.scale * ratio,
            pose.unit_m,
        )


def neutral_frames(codes: Float[Tensor, "T dim"], reference: Float[Tensor, "dim"]) -> Int[Tensor, "n"]:
    """The five frames nearest to a neutral code, or all if there are fewer."""
    distance = (codes - reference).square().sum(-1)
    return distance.argsort(stable=True)[:NEUTRAL_FRAMES]


def near_rest(arkit: Float[Tensor, "n 52"]) -> bool:
    """Whether the mean of these frames is a face at rest, which is 0 in every coefficient."""
    return bool((arkit.mean(0).abs() <= NEAR_REST).all())


def training_range(codes: Float[Tensor, "T dim"], neutral: Float[Tensor, "dim"]) -> Range:
    """From the 0.5 % to the 99.5 % quantile of each channel, with the neutral code inside."""
    lo, hi = (torch.quantile(codes, q, dim=0) for q in QUANTILES)
    return Range(torch.minimum(lo, neutral), torch.maximum(hi, neutral))


def quantile_gain(
    source: Float[Tensor, "S dim"], target: Float[Tensor, "T dim"], at: tuple[Neutral, Neutral]
) -> Float[Tensor, "dim"]:
    """The target's over the source's 98 % quantile of motion from neutral, channel by channel; at most 2.5.

    1 for channels in which either does not move.
    """
    of_source = (source - at[0].codes).abs().quantile(0.98, dim=0)
    of_target = (target - at[1].codes).abs().quantile(0.98, dim=0)
    moves = (of_source > 0) & (of_target > 0)
    gain = of_target / torch.maximum(of_source, LEAST_MOTION * of_target).clamp_min(1e-12)
    return torch.where(moves, gain, torch.ones_like(gain))
