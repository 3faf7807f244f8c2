"""Gaze in angles and as ARKit's four `eyeLook*` coefficients of each eye."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.driving.types import INDEX

YAW = math.radians(30)
"""Turn of an eye at a coefficient of 1."""
PITCH = math.radians(25)
SIDES = ("Left", "Right")


def _columns(direction: str) -> list[int]:
    return [INDEX[f"eyeLook{direction}{side}"] for side in SIDES]


def gaze_angles(arkit: Float[Tensor, "*B 52"]) -> Float[Tensor, "*B 2 2"]:
    """Yaw (to the subject's left) and pitch (up) in radians, of the left and of the right eye."""
    look = {direction: arkit[..., _columns(direction)] for direction in ("In", "Out", "Up", "Down")}
    inward = look["In"] - look["Out"]
    # inwards is to the subject's right for the left eye
    yaw = YAW * inward * inward.new_tensor([-1.0, 1.0])
    return torch.stack([yaw, PITCH * (look["Up"] - look["Down"])], dim=-1)


def with_gaze(arkit: Float[Tensor, "*B 52"], angles: Float[Tensor, "*B 2 2"]) -> Float[Tensor, "*B 52"]:
    """The coefficients with eyes that look so; angles beyond a coefficient of 1 stay there."""
    inward = angles[..., 0] / YAW * angles.new_tensor([-1.0, 1.0])
    upward = angles[..., 1] / PITCH
    out = arkit.clone()
    for direction, value in (("In", inward), ("Out", -inward), ("Up", upward), ("Down", -upward)):
        out[..., _columns(direction)] = value.clamp(0, 1).to(out)
    return out
