"""Driving frame by frame, with an avatar of the toy prior: the same as all at once."""

import torch

from gs_reg.driving import Drive, Retarget, drive, smoothed, training_range
from gs_reg.driving.calibration import Calibration
from gs_reg.driving.retarget import Neutral
from gs_reg.driving.types import head_rotation
from gs_reg.priors import HeadPose
from tests.models.avatars import PRIOR, toy_avatar, track


def codes_of(arkit: torch.Tensor) -> torch.Tensor:
    """Stands for a bridge: the toy prior does not speak ARKit coefficients."""
    return PRIOR.lo + (PRIOR.hi - PRIOR.lo) * arkit[:, : PRIOR.dim]


def test_a_stream_gives_what_the_whole_clip_gives():
    g = torch.Generator().manual_seed(0)
    arkit = torch.rand(6, 52, generator=g)
    yaw, zero = torch.linspace(0, 0.4, 6), torch.zeros(6)
    pose = HeadPose(head_rotation(yaw, zero, zero), 0.01 * torch.randn(6, 3, generator=g), torch.ones(6))
    own = track()
    avatar = toy_avatar(points=100)
    curves = Calibration.from_clip(arkit)
    source = Neutral.of(codes_of(curves(arkit)), pose, PRIOR.neutral, frame=0)
    target = Neutral.of(own.codes, own.pose, PRIOR.neutral, frame=0)
    retarget = Retarget(source, target, training_range(own.codes, PRIOR.neutral))
    stream = ((arkit[t], pose[t : t + 1]) for t in range(6))
    clouds = list(drive(stream, avatar.posed, codes_of, retarget, 25.0, curves))
    whole = smoothed(curves.applied_to(Drive(arkit, pose, 25.0)))
    codes, poses = retarget.codes(codes_of(whole.arkit)), retarget.pose(whole.pose).matrices()
    assert len(clouds) == 6 and not torch.allclose(clouds[0].means, clouds[5].means, atol=1e-3)
    for t, cloud in enumerate(clouds):
        expected = avatar.posed(codes[t], poses[t])
        torch.testing.assert_close(cloud.means, expected.means, atol=1e-5, rtol=0)
        torch.testing.assert_close(cloud.warps, expected.warps, atol=1e-5, rtol=0)
        assert not cloud.means.requires_grad
