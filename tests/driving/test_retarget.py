"""T18: from one head to another, neutral-relative and within what the target was trained on."""

import math

import pytest
import torch

from gs_reg.driving.retarget import Neutral, Range, Retarget, neutral_frames, quantile_gain, training_range
from gs_reg.driving.types import head_rotation
from gs_reg.priors import HeadPose


def turned(yaw=0.0, pitch=0.0, roll=0.0) -> torch.Tensor:
    return head_rotation(*torch.tensor([yaw, pitch, roll], dtype=torch.float64)).float()


def face(codes, rotation=None, translation=(0.0, 0, 0), scale=1.0) -> Neutral:
    rotation = turned() if rotation is None else rotation
    return Neutral(torch.tensor(codes), rotation, torch.tensor(translation), torch.tensor(scale))


SOURCE = face([0.3, -0.2, 0.1], turned(0.3, -0.1, 0.05), (0.1, 0.2, 3.0))
TARGET = face([0.1, 0.2, -0.4], turned(-0.2, 0.15), (0.0, -0.1, 1.0), 2.0)
WIDE = Range(torch.tensor([-1.0, -1, -1]), torch.tensor([1.0, 1, 1]))


def test_neutral_becomes_neutral():
    retarget = Retarget(SOURCE, TARGET, WIDE, gain=torch.tensor([0.5, 2.0, 1.0]))
    torch.testing.assert_close(retarget.codes(SOURCE.codes), TARGET.codes, atol=1e-6, rtol=0)
    pose = retarget.pose(HeadPose(SOURCE.rotation[None], SOURCE.translation[None], SOURCE.scale[None]))
    torch.testing.assert_close(pose.rotation[0], TARGET.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(pose.translation[0], TARGET.translation, atol=1e-6, rtol=0)
    torch.testing.assert_close(pose.scale, torch.tensor([2.0]))


def test_a_constant_offset_of_the_source_changes_nothing():
    g = torch.Generator().manual_seed(0)
    z, offset = torch.randn(40, 3, generator=g), torch.tensor([0.7, -3.0, 0.2])
    moved = face((SOURCE.codes + offset).tolist(), SOURCE.rotation, SOURCE.translation.tolist())
    a, b = Retarget(SOURCE, TARGET, WIDE), Retarget(moved, TARGET, WIDE)
    torch.testing.assert_close(a.codes(z), b.codes(z + offset), atol=1e-6, rtol=0)


def test_turns_are_those_from_the_source_neutral():
    """R = R0_target (R0_source)^-1 R_source, and a step keeps its length times the scale."""
    retarget = Retarget(SOURCE, TARGET, WIDE)
    turn = turned(0.2, 0.1)
    move = torch.tensor([0.05, 0.0, -0.02])
    pose = retarget.pose(
        HeadPose((turn @ SOURCE.rotation)[None], (SOURCE.translation + move)[None], SOURCE.scale[None])
    )
    torch.testing.assert_close(pose.rotation[0], TARGET.rotation @ SOURCE.rotation.T @ turn @ SOURCE.rotation)
    assert float((pose.translation[0] - TARGET.translation).norm()) == pytest.approx(2 * float(move.norm()), rel=1e-5)


def test_the_clamp_is_the_identity_inside_and_soft_outside():
    lo, hi = torch.tensor([0.0, -1.0, 0.5]), torch.tensor([1.0, 3.0, 0.5])
    clamp = Range(lo, hi).soft_clamp
    inside = torch.tensor([[0.0, -1, 0.5], [0.5, 0.7, 0.5], [1.0, 3.0, 0.5]])
    assert torch.equal(clamp(inside), inside)
    far = clamp(torch.tensor([[-9.0, 90, 7.0], [9.0, -90, -7.0]]))
    torch.testing.assert_close(far, torch.tensor([[-0.1, 3.4, 0.5], [1.1, -1.4, 0.5]]))
    x = torch.linspace(-1, 3, 401, dtype=torch.float64)
    y = Range(lo.double(), hi.double()).soft_clamp(x[:, None].expand(-1, 3))[:, 0]
    assert bool((y.diff() >= 0).all()) and float(y.diff().max()) <= 0.0100001
    slope = y.diff() / x.diff()
    assert float(slope.diff().abs().max()) < 0.09  # no kink where it begins: that of a hard clamp is 1


def test_the_range_is_of_quantiles_and_holds_the_neutral_face():
    codes = torch.linspace(0, 1, 1001)[:, None].repeat(1, 2)
    codes[0, 0] = -50.0  # one wild frame
    found = training_range(codes, torch.tensor([0.0, 2.0]))
    torch.testing.assert_close(found.lo, torch.tensor([0.0, 0.005]))
    torch.testing.assert_close(found.hi, torch.tensor([0.995, 2.0]))


def test_neutral_is_the_mean_of_the_five_nearest_frames():
    codes = torch.arange(20.0)[:, None].repeat(1, 2)
    pose = HeadPose(torch.stack([turned(0.01 * t) for t in range(20)]), torch.zeros(20, 3), torch.ones(20))
    reference = torch.tensor([10.0, 10.0])
    assert sorted(neutral_frames(codes, reference).tolist()) == [8, 9, 10, 11, 12]
    neutral = Neutral.of(codes, pose, reference)
    torch.testing.assert_close(neutral.codes, reference)
    torch.testing.assert_close(neutral.rotation, turned(0.1), atol=1e-5, rtol=0)
    torch.testing.assert_close(Neutral.of(codes, pose, reference, frame=3).rotation, turned(0.03), atol=1e-6, rtol=0)


def test_gains_stretch_weak_sources_but_not_without_bound():
    t = torch.linspace(0, 1, 200)
    source = torch.stack([0.5 * t, 0.01 * t, 2 * t, 0 * t], 1)
    target = torch.stack([t, t, t, t], 1)
    rest = face([0.0] * 4)
    gain = quantile_gain(source, target, (rest, rest))
    torch.testing.assert_close(gain, torch.tensor([2.0, 2.5, 0.5, 1.0]), atol=1e-5, rtol=0)
    assert math.isfinite(float(gain.sum()))
