"""Gaussian Head Avatar's folders: images/FRAME/image_CAM.jpg, mask_CAM.jpg, cameras/FRAME/camera_CAM.npz, params/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from ..arrays import read_arrays
from ..photos.images import SUFFIXES
from .assemble import FoundCamera, FoundSequence, ReadOptions, assembled, usual_held_out, wanted
from .files import Picture
from .tracks import SequenceTrack
from .types import Capture

PRIOR = "bfm"
CODE = 64
WITHOUT_CAMERA = "delete its camera_*.npz from the folders of cameras/"


def find(root: Path) -> bool:
    return any((root / "cameras").glob("*/camera_*.npz")) and (root / "params").is_dir()


def read(root: Path, options: ReadOptions) -> Capture:
    """One sequence. Its codes belong to no prior that this library has: for evaluation and import.

    Raises:
        InputError: what is missing, or does not fit together.
    """
    frames = sorted((p.name for p in (root / "cameras").iterdir() if p.name.isdigit()), key=int)
    if not frames:
        raise InputError(f"{root / 'cameras'}: no folders of frames: expected numbers such as 0000")
    names = sorted(p.stem.removeprefix("camera_") for p in (root / "cameras" / frames[0]).glob("camera_*.npz"))
    names = wanted(names, options.cameras, "camera", root / "cameras" / frames[0])
    cameras = [_camera(root / "cameras" / frames[0] / f"camera_{name}.npz", name) for name in names]
    for frame in frames[1:]:
        for camera in cameras:
            path = root / "cameras" / frame / f"camera_{camera.name}.npz"
            other = _camera(path, camera.name)
            if not np.allclose(other.camera_from_world, camera.camera_from_world, atol=1e-4):
                raise InputError(f"{path}: the camera moves: expected the pose of frame {frames[0]}")
    photos = [{int(f): _picture(root / "images" / f, "image", name) for f in frames} for name in names]
    masks = [{int(f): _picture(root / "images" / f, "mask", name) for f in frames} for name in names]
    track = _track(root / "params", frames)
    way_out = "use another capture: this layout has one sequence"
    sequence = FoundSequence(root.name, root, photos, masks, track, WITHOUT_CAMERA, way_out)
    return assembled(root, cameras, [sequence], options, usual_held_out([root.name]))


def _camera(path: Path, name: str) -> FoundCamera:
    """The arrays are told by their shapes: 3x4 or 4x4 world-to-camera, 3x3 K."""
    arrays = _numbers(path)
    poses = [a for a in arrays.values() if a.shape in ((3, 4), (4, 4))]
    Ks = [a for a in arrays.values() if a.shape == (3, 3)]
    if len(poses) != 1 or len(Ks) != 1:
        raise InputError(f"{path}: expected one 3x4 pose and one 3x3 matrix of intrinsics")
    pose = np.eye(4)
    pose[:3] = poses[0][:3]
    return FoundCamera(name, pose, Ks[0].astype(np.float64), str(path))


def _numbers(path: Path) -> dict[str, ndarray]:
    return {name: array for name, array in read_arrays(path).items() if array.dtype.kind in "fiu"}


def _picture(folder: Path, kind: str, camera: str) -> Picture:
    for suffix in sorted(SUFFIXES):
        path = folder / f"{kind}_{camera}{suffix}"
        if path.is_file():
            return Picture(path)
    raise InputError(f"{folder}: no {kind}_{camera}.jpg: copy it again, or leave camera {camera} out: {WITHOUT_CAMERA}")


def _track(folder: Path, frames: list[str]) -> SequenceTrack:
    from scipy.spatial.transform import Rotation

    rows = [_params(folder / frame / "params.npz") for frame in frames]
    pose, scale, codes = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    rotation = Rotation.from_rotvec(pose[:, :3]).as_matrix()
    return SequenceTrack(
        folder, PRIOR, codes.astype(np.float32), rotation, pose[:, 3:], scale.astype(np.float64), None, None
    )


def _params(path: Path) -> tuple[Float[ndarray, "1 6"], Float[ndarray, "1"], Float[ndarray, "1 64"]]:
    """Told by their sizes: a pose of 6 (rotation vector, translation), a scale, 64 coefficients of expression."""
    arrays = _numbers(path)
    found = []
    for size, key in ((6, "pose"), (1, "scale"), (CODE, "exp")):
        fitting = [a for name, a in sorted(arrays.items()) if a.size == size and (key in name or size != 1)]
        if not fitting or not np.isfinite(fitting[0]).all():
            raise InputError(f"{path}: no {key} of {size} finite numbers")
        found.append(fitting[0].reshape(1, -1).astype(np.float64))
    return found[0], found[1][0], found[2]
