"""Driving frame by frame, as frames come in from a camera."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.driving.calibration import Calibration
from gs_reg.driving.retarget import Retarget
from gs_reg.driving.smoothing import MOVE, TURN, OneEuro, SmoothingConfig
from gs_reg.priors import HeadPose
from gs_reg.rotations import quat_to_rotmat, rotmat_to_quat
from gs_reg.types import Splats

Posed = Callable[[Float[Tensor, "dim"], Float[Tensor, "4 4"]], Splats]
"""An avatar at a code and a world_from_canonical, such as Avatar.posed."""


def drive(
    source: Iterable[tuple[Float[Tensor, "52"], HeadPose]],
    posed: Posed,
    codes_of: Callable[[Float[Tensor, "1 52"]], Float[Tensor, "1 dim"]],
    retarget: Retarget,
    fps: float,
    calibration: Calibration | None = None,
    smoothing: SmoothingConfig = SmoothingConfig(),
) -> Iterator[Splats]:
    """A posed avatar for every frame of the source, each as soon as it is there.

    `codes_of` is the prior's from_arkit or a bridge; poses of the source are those of one frame.
    """
    expression, rotation, translation = (OneEuro(fps, smoothing) for _ in range(3))
    last: Tensor | None = None
    for arkit, pose in source:
        values = arkit[None] if calibration is None else calibration(arkit[None])
        codes = codes_of(expression(values[0])[None])
        quat = rotmat_to_quat(pose.rotation[0])
        quat = -quat if last is not None and float(quat @ last) < 0 else quat  # one rotation, the nearer sign
        last = F.normalize(rotation(TURN * quat), dim=0)
        moved = translation(MOVE * pose.translation[0])[None] / MOVE
        smooth = HeadPose(quat_to_rotmat(last)[None], moved, pose.scale, pose.unit_m)
        with torch.no_grad():
            yield posed(retarget.codes(codes)[0], retarget.pose(smooth).matrices()[0])
