"""Cameras and points that cannot be are refused by name."""

import struct

import numpy as np
import pytest

from gs_reg.data_tools.checks import check_camera, check_pose
from gs_reg.data_tools.dataset import read_dataset
from gs_reg.data_tools.readers.types import SourceCamera
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import points_of, shoot


@pytest.mark.parametrize(
    ("params", "size", "reason"),
    [
        ((1e39, 50, 24, 18), (48, 36), r"focal length 1e\+39, 50 for 48x36 pixels: no camera has that"),
        ((50, 1e9, 24, 18), (48, 36), r"focal length 50, 1e\+09"),
        ((1e-30, 50, 24, 18), (48, 36), "focal length 1e-30, 50"),
        ((50, 50, 1e30, 18), (48, 36), r"principal point 1e\+30, 18: far outside the picture"),
        ((50, 50, 24, -1e9), (48, 36), "principal point"),
        ((1e9, 1e9, 24, 18), (10**8, 36), r"1e\+08x36 pixels: no camera has that"),
        ((50, 50, 24, 18), (48, 10**30), r"48x1e\+30 pixels: no camera has that"),
        ((float("inf"), 50, 24, 18), (48, 36), "intrinsics"),
    ],
)
def test_intrinsics(params, size, reason):
    with pytest.raises(InputError, match=rf"a\.txt: x\.png: {reason}"):
        check_camera(SourceCamera("PINHOLE", params, *size), "a.txt: x.png")


def test_cameras_that_can_be():
    for focal in (5.0, 50.0, 1e5):  # 157 degrees across, usual, a telescope
        check_camera(SourceCamera("PINHOLE", (focal, focal, 24, 18), 48, 36), "")
    pose = np.eye(4)
    pose[:3, 3] = 448251.0, 5411932.0, 512.0
    check_pose(pose, "")


@pytest.mark.parametrize("far", [1e39, 1e300, -1e13])
def test_positions(tmp_path, far):
    root = photosets.write_old_colmap(tmp_path, shoot(3), text=True)
    file = root / "sparse" / "0" / "images.txt"
    words = file.read_text().split(" ")
    words[5] = repr(far)  # the first photo's x
    file.write_text(" ".join(words))
    with pytest.raises(InputError, match=r"sparse.0: shot_00\.png: the camera is 1.* units from the origin"):
        read_dataset(root)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39, -1e300])
def test_points(tmp_path, value):
    shots = shoot(3)
    root = photosets.write_old_colmap(tmp_path, shots, text=False)
    file = root / "sparse" / "0" / "points3D.bin"
    good = struct.pack("<d", points_of(shots)[1, 2])
    data = file.read_bytes()
    assert data.count(good) == 1
    file.write_bytes(data.replace(good, struct.pack("<d", value)))
    with pytest.raises(InputError, match=r"sparse.0: 1 of 2 points are not finite or over-large, such as "):
        read_dataset(root)
