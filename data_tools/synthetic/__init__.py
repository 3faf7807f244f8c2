"""Synthetic scenes with exact depth, flow, masks and cameras."""

from .export import write_transforms_json
from .scene import Rig, SyntheticScene, flow, inverse_depth
from .scenes import box_and_sphere, plane, room, two_planes

__all__ = [
    "Rig",
    "SyntheticScene",
    "box_and_sphere",
    "flow",
    "inverse_depth",
    "plane",
    "room",
    "two_planes",
    "write_transforms_json",
]
