"""Renders of a prior's own head, on which the detector says where its landmarks are."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import UInt8

from gs_reg.data_tools.heads.synth import SynthConfig
from gs_reg.data_tools.heads.synth.scene import SynthHead, photograph
from gs_reg.driving import Landmarker
from gs_reg.errors import InputError
from gs_reg.priors import ExpressionPrior
from gs_reg.priors.mesh import MeshPrior
from gs_reg.types import Cameras

from .anchors import Anchors, find_anchors

SIZE = 512
SAMPLES = 2
ANGLES = ((0, 0), (-12, 0), (12, 0), (-24, 3), (24, 3), (0, 10), (0, -8))
"""Azimuth and elevation of the cameras in degrees."""
DISTANCE, SPAN = 1.1, 0.42
"""Metres to the head, and that a picture is high at it."""


def own_anchors(prior: ExpressionPrior, detector: Landmarker) -> Anchors:
    """Places of the detector's landmarks on the prior's mean head.

    Raises:
        InputError: the prior is no mesh that can be drawn, or too few renders show a face to the detector.
    """
    if not isinstance(prior, MeshPrior):
        raise InputError(
            f"prior {prior.name}: tracking needs a prior that is a mesh; give the files of its own tracker"
        )
    cameras = cameras_around()
    pictures = renders(prior, cameras)

    def detect(i: int):
        face = detector(pictures[i])
        return None if face is None else face.landmarks

    head = torch.eye(4)
    head[:3, :3] *= prior.unit_m
    return find_anchors(prior, None, cameras, detect, head)


def cameras_around() -> Cameras:
    fov, up = 2 * math.atan(SPAN / 2 / DISTANCE), torch.tensor([0.0, 1.0, 0.0])
    target, cameras = torch.tensor([0.0, -0.01, 0.03]), []
    for azimuth, elevation in ANGLES:
        a, e = math.radians(azimuth), math.radians(elevation)
        away = torch.tensor([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
        cameras.append(Cameras.look_at(target + DISTANCE * away, target, up, fov, SIZE, SIZE))
    return Cameras.joined(cameras)


def renders(prior: MeshPrior, cameras: Cameras) -> list[UInt8[np.ndarray, "H W 3"]]:
    """The neutral mean head with the texture of synthetic captures, in the head's own frame."""
    settings = SynthConfig(prior=prior.name, strands=800, atlas=1024)
    head = SynthHead.build(settings, prior, None)
    snapshot = head.at(np.zeros(52), np.eye(3), np.zeros(3), np.eye(3))
    return [photograph(head, snapshot, cameras[i], SAMPLES)[0] for i in range(len(cameras))]
