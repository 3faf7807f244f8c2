"""The One-Euro filter, resampling, and frames that were not seen."""

import math

import pytest
import torch

from gs_reg.driving.smoothing import OneEuro, SmoothingConfig, smoothed
from gs_reg.driving.types import Drive, filled, head_angles, head_rotation, slerp
from gs_reg.priors import HeadPose


def drive_of(values: torch.Tensor, yaw: torch.Tensor, fps=30.0) -> Drive:
    pose = HeadPose.identity(len(yaw))
    zero = torch.zeros_like(yaw)
    return Drive(
        values[:, None].repeat(1, 52),
        HeadPose(head_rotation(yaw, zero, zero), pose.translation, pose.scale),
        fps,
    )


def test_the_first_steps_by_hand():
    step = OneEuro(30, SmoothingConfig(min_cutoff=1.5, beta=0.3, speed_cutoff=1.0))
    assert float(step(torch.tensor([0.0]))) == 0

    def share(cutoff: float) -> float:
        return 1 / (1 + 30 / (2 * math.pi * cutoff))

    speed = share(1.0) * 30.0
    first = share(1.5 + 0.3 * speed)
    assert float(step(torch.tensor([1.0]))) == pytest.approx(first, rel=1e-6)
    speed += share(1.0) * ((1 - first) * 30 - speed)
    second = first + share(1.5 + 0.3 * speed) * (1 - first)
    assert float(step(torch.tensor([1.0]))) == pytest.approx(second, rel=1e-6)


def test_shaking_is_damped_and_motion_is_kept():
    t = torch.arange(300) / 30
    g = torch.Generator().manual_seed(0)
    noise = 0.03 * torch.randn(300, generator=g)
    shaking = smoothed(drive_of(0.5 + noise, 0.05 * noise)).arkit[:, 0]

    def second(x: torch.Tensor) -> float:
        return float(x.diff().diff().abs().mean())

    assert second(shaking) < 0.3 * second(noise)
    slow = 0.5 + 0.5 * (2 * math.pi * 0.3 * t).sin()
    out = smoothed(drive_of(slow, 0.4 * slow))
    assert float((out.arkit[30:, 0] - slow[30:]).abs().max()) < 0.1
    assert float((head_angles(out.pose.rotation)[30:, 0] - 0.4 * slow[30:]).abs().max()) < 0.05


def test_a_blink_is_not_swallowed():
    blink = torch.zeros(30)
    blink[12:15] = 1  # an eighth of a second
    assert float(smoothed(drive_of(blink, 0 * blink, fps=25.0)).arkit[:, 0].max()) > 0.75


def test_a_turn_past_the_back_has_no_jump():
    yaw = torch.linspace(2.6, 3.7, 40)  # quaternions change their sign on the way
    out = smoothed(drive_of(torch.zeros(40), yaw, fps=200.0), SmoothingConfig(min_cutoff=1000.0))
    zero = torch.zeros_like(yaw)
    torch.testing.assert_close(out.pose.rotation, head_rotation(yaw, zero, zero), atol=0.02, rtol=0)


def test_slerp_keeps_an_even_speed_along_the_shorter_arc():
    a, b = head_rotation(torch.tensor([3.0, 0.2]), torch.zeros(2), torch.zeros(2)), None
    b = head_rotation(torch.tensor([-3.0, 0.2]), torch.zeros(2), torch.zeros(2))
    middle = slerp(a, b, torch.tensor([0.25, 0.25]))
    step = (2 * math.pi - 6) / 4
    torch.testing.assert_close(
        middle, head_rotation(torch.tensor([3.0 + step, 0.2]), torch.zeros(2), torch.zeros(2)), atol=1e-5, rtol=0
    )


def test_resampling_keeps_times():
    drive = drive_of(torch.linspace(0, 1, 31), torch.linspace(0, 0.6, 31))
    for fps, count in ((15, 16), (60, 61), (24, 25), (30, 31)):
        out = drive.resampled(fps)
        assert len(out) == count and out.fps == fps
        torch.testing.assert_close(out.arkit[:, 5], torch.arange(count) / fps, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            head_angles(out.pose.rotation)[:, 0], 0.6 * torch.arange(count) / fps, atol=1e-5, rtol=0
        )
    assert len(drive_of(torch.zeros(1), torch.zeros(1)).resampled(60)) == 1
    with pytest.raises(ValueError, match=r"fps: expected 0\.1 to 1000 frames a second, got 0"):
        drive.resampled(0)
    with pytest.raises(ValueError, match="got nan"):
        drive.resampled(math.nan)
    with pytest.raises(ValueError, match="expected at most 500,000 frames, got 600 s with 1000 a second"):
        drive_of(torch.zeros(601), torch.zeros(601), fps=1.0).resampled(1000)


def test_frames_that_were_not_seen_lie_between_those_that_were():
    seen = torch.tensor([False, True, False, False, True, False])
    source = drive_of(torch.tensor([0.2, 0.8]), torch.tensor([0.0, 0.3]))
    out = filled(source.arkit, source.pose, seen, 30.0)
    torch.testing.assert_close(out.arkit[:, 0], torch.tensor([0.2, 0.2, 0.4, 0.6, 0.8, 0.8]), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        head_angles(out.pose.rotation)[:, 0], torch.tensor([0, 0, 0.1, 0.2, 0.3, 0.3]), atol=1e-5, rtol=0
    )
    assert out.seen.tolist() == seen.tolist()
    assert filled(source.arkit, source.pose, torch.tensor([True, True]), 30.0).seen is None
    one = filled(source.arkit[:1], source.pose[:1], torch.tensor([False, True, False]), 30.0)
    torch.testing.assert_close(one.arkit[:, 0], torch.full((3,), 0.2))
    with pytest.raises(ValueError, match="at least one frame"):
        filled(source.arkit[:0], source.pose[:0], torch.tensor([False, False]), 30.0)
