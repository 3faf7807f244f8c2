"""Cameras alone, of a transforms.json or a COLMAP model whose photos may be gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ..checks import check_camera, check_pose
from ..photos.undistort import colmap_camera
from . import colmap, transforms_json


def read_cameras(path: str | Path) -> Mapping[str, Cameras]:
    """Pinhole cameras (float64) by the names of their photos, sorted; lens distortion is left out.

    Raises:
        InputError: no such file or folder, no cameras in it, or one that is none.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder: expected a transforms.json or the folder of a COLMAP model")
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise InputError(f"{path}: expected a transforms.json or the folder of a COLMAP model")
        files: tuple[Path, ...] = (path,)
    else:
        files = transforms_json.find(path)
    found = {}
    for file in files:
        found |= transforms_json.read_cameras(file)
    if not files:
        found = colmap.read_cameras(path)
    if not found:
        raise InputError(f"{path}: there are no cameras in it")
    cameras = {}
    for name, (camera, pose) in sorted(found.items()):
        check_camera(camera, f"{path}: {name}")
        check_pose(pose, f"{path}: {name}")
        K = torch.from_numpy(colmap_camera(camera).calibration_matrix().copy())
        cameras[name] = Cameras(torch.from_numpy(pose)[None], K[None], camera.width, camera.height)
    return cameras
