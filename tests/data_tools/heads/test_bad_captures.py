"""What is wrong with a capture is one line that names the file, the frame or the camera."""

import json
import shutil

import numpy as np
import pytest

from gs_reg.data_tools.heads import read_capture
from gs_reg.errors import InputError
from tests.data_tools.heads import folders
from tests.data_tools.heads.folders import FRAMES, SERIALS, Shoot


@pytest.fixture
def person(tmp_path):
    return folders.nersemble_2(tmp_path, Shoot())


def refused(path, *texts: str) -> None:
    with pytest.raises(InputError) as caught:
        read_capture(path)
    message = str(caught.value)
    assert "\n" not in message
    for text in texts:
        assert text in message


def change_codes(person, **arrays) -> None:
    path = person / "sequences" / "EMO-1" / "codes.npz"
    np.savez(path, **{**np.load(path), **arrays})


def test_missing_camera(person):
    shutil.rmtree(person / "sequences" / "FREE" / "images" / f"cam_{SERIALS[0]}")
    refused(person, "FREE", f"nothing of camera {SERIALS[0]}", "leave the camera out")


def test_dropped_frames(person):
    (person / "sequences" / "FREE" / "images" / f"cam_{SERIALS[1]}" / "frame_00002.png").unlink()
    refused(person, "FREE", f"camera {SERIALS[1]}: 3 photos for 4 frames; the first that is missing is 2")


def test_absent_masks(person):
    (person / "sequences" / "EMO-1" / "alpha_maps" / f"cam_{SERIALS[1]}" / "frame_00000.png").unlink()
    refused(person, f"camera {SERIALS[1]}: 3 masks for 4 frames; the first that is missing is 0")
    shutil.rmtree(person / "sequences" / "EMO-1" / "alpha_maps")
    refused(person, "EMO-1", "no alpha_maps")


def test_empty_mask(person):
    path = person / "sequences" / "EMO-1" / "alpha_maps" / f"cam_{SERIALS[0]}" / "frame_00001.png"
    folders.save(path, np.zeros((folders.HEIGHT, folders.WIDTH), np.uint8))
    capture = read_capture(person)
    with pytest.raises(InputError, match=r"frame_00001\.png: an empty mask"):
        capture.views(1, [0])


def test_codes_of_wrong_size(person):
    change_codes(person, z=np.ones((FRAMES, 9), np.float32))
    refused(person, "9 numbers of anny", "52 numbers of anny")
    change_codes(person, z=np.ones((FRAMES - 1, 52), np.float32))
    refused(person, "codes.npz", "head_pose: got [4, 4, 4]")
    change_codes(person, head_pose=np.tile(np.eye(4), (FRAMES - 1, 1, 1)))
    refused(person, "codes.npz", "3 codes for 4 frames")


def test_codes_that_are_not_finite(person):
    z = Shoot().codes("EMO-1")
    z[2, 5] = np.nan
    change_codes(person, z=z)
    refused(person, "EMO-1", "codes.npz", "z of frame 2 is not finite")


def test_poses_that_are_none(person):
    poses = folders.head_poses(FRAMES)
    poses[2, 0, 0] = 3.0
    change_codes(person, head_pose=poses)
    refused(person, "codes.npz", "head_pose of frame 2 is no similarity")
    poses[2] = 0
    change_codes(person, head_pose=poses)
    refused(person, "codes.npz", "head_pose of frame 2 is no similarity")


def test_constant_codes(tmp_path):
    person = folders.nersemble_2(tmp_path, Shoot(sequences=("EMO-1",)))
    change_codes(person, z=np.full((FRAMES, 52), 0.5, np.float32))
    refused(person, "the same code in all 4 frames")


def test_no_codes(person):
    (person / "sequences" / "EMO-1" / "codes.npz").unlink()
    refused(person, "EMO-1", "no codes of a tracker", "codes.npz")


def test_a_sequence_of_one_frame(tmp_path):
    refused(folders.nersemble_2(tmp_path, Shoot(frames=1)), "1 frame with codes: expected 2 or more")


def test_another_person(person):
    change_codes(person, ident=np.zeros(5))
    refused(person, "another identity", "expected one person")


def test_pictures_of_two_sizes(person):
    folders.save(
        person / "sequences/EMO-1/images" / f"cam_{SERIALS[1]}" / "frame_00000.png", np.zeros((9, 9, 3), np.uint8)
    )
    refused(person, "expected one size for all")


def test_calibration(person):
    path = person / "calibration" / "camera_params.json"
    content = json.loads(path.read_text())
    del content["intrinsics"][SERIALS[0]]
    path.write_text(json.dumps(content))
    refused(person, "camera_params.json", f"no intrinsics of camera {SERIALS[0]}")
    content["intrinsics"] = [[1, 2], [3, 4]]
    path.write_text(json.dumps(content))
    refused(person, "camera_params.json", "expected a 3x3 matrix")
    path.write_text(json.dumps({**content, "world_2_cam": [1]}))
    refused(person, "camera_params.json", "expected world_2_cam {serial: 4x4}")
    path.write_text("{")
    refused(person, "camera_params.json", "not valid JSON")


def test_no_capture(tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    refused(tmp_path, "no capture of a head", "calibration/camera_params.json")


def test_gaussian_avatars_without_masks_or_with_other_codes(tmp_path):
    path = folders.gaussian_avatars(tmp_path, Shoot())
    np.savez(tmp_path / "EMO-1/flame_param/00001.npz", **{**folders.flame_param(1), "expr": np.zeros((1, 50))})
    refused(path, "00001.npz", "expr: 50 numbers: expected 100, as FLAME 2023 has")
    listed = json.loads((path / "transforms_train.json").read_text())
    del listed["frames"][1]["fg_mask_path"]
    (path / "transforms_train.json").write_text(json.dumps(listed))
    refused(path, "transforms_train.json: frame 1", "no fg_mask_path")
