"""Driving an avatar: sources of expression and head pose, their calibration, and the way to another head."""

from __future__ import annotations

from gs_reg.driving.bridge import Bridge, fit_bridge
from gs_reg.driving.bvh import read_bvh
from gs_reg.driving.calibration import Calibration
from gs_reg.driving.csv import read_csv
from gs_reg.driving.judge import judge
from gs_reg.driving.landmarker import Landmarker, track_faces
from gs_reg.driving.live import drive
from gs_reg.driving.retarget import Retarget, training_range
from gs_reg.driving.smoothing import smoothed
from gs_reg.driving.types import Drive

__all__ = [
    "Bridge",
    "Calibration",
    "Drive",
    "Landmarker",
    "Retarget",
    "drive",
    "fit_bridge",
    "judge",
    "read_bvh",
    "read_csv",
    "smoothed",
    "track_faces",
    "training_range",
]
