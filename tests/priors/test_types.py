"""Poses and regions of heads."""

from __future__ import annotations

import torch

from gs_reg.priors import REGIONS, HeadPose, Part, region_masks
from gs_reg.rotations import quat_to_rotmat


def test_a_pose_takes_canonical_points_to_the_world():
    rotation = quat_to_rotmat(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    pose = HeadPose(rotation, torch.tensor([[1.0, 2, 3]]).repeat(3, 1), torch.tensor([1.0, 1.1, 0.9]))
    x = torch.tensor([0.1, -0.2, 0.3])
    by_hand = 1.1 * rotation[1] @ (0.25 * x) + pose.translation[1]
    assert torch.allclose((pose.matrices() @ torch.cat([x, torch.ones(1)]))[1, :3], by_hand, atol=1e-6)
    assert torch.equal(pose[1:].matrices(), pose.matrices()[1:]) and len(pose[[2]]) == 1


def test_each_part_lies_in_just_one_region():
    masks = torch.stack(list(region_masks(torch.tensor(list(Part))).values()))
    assert (masks.sum(0) == 1).all() and len(masks) == len(REGIONS)
