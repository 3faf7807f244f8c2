"""What is wrong with a capture is one line that names the file, the frame or the camera."""

import json
import re
import shutil

import numpy as np
import pytest

from gs_reg.data_tools.heads import ReadOptions, read_capture
from gs_reg.data_tools.heads.synth import SynthConfig, synthesize
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


def picture(person, sequence, kind, number):
    """Of the second camera."""
    return person / "sequences" / sequence / kind / f"cam_{SERIALS[1]}" / f"frame_{number:05d}.png"


def change_codes(person, **arrays) -> None:
    path = person / "sequences" / "EMO-1" / "codes.npz"
    np.savez(path, **{**np.load(path), **arrays})


def test_missing_camera(person):
    shutil.rmtree(person / "sequences" / "FREE" / "images" / f"cam_{SERIALS[0]}")
    refused(person, "FREE", f"nothing of camera {SERIALS[0]}", "delete the camera from camera_params.json")


def test_dropped_frames(person):
    (person / "sequences" / "FREE" / "images" / f"cam_{SERIALS[1]}" / "frame_00002.png").unlink()
    refused(person, "FREE", f"camera {SERIALS[1]}: 3 photos for 4 frames; the first that is missing is 2")
    refused(person, "copy them again, or delete the camera from camera_params.json")


def test_a_camera_can_be_left_out_as_the_message_says(person):
    (person / "sequences" / "FREE" / "images" / f"cam_{SERIALS[1]}" / "frame_00002.png").unlink()
    path = person / "calibration" / "camera_params.json"
    content = json.loads(path.read_text())
    for part in content.values():
        del part[SERIALS[1]]
    path.write_text(json.dumps(content))
    assert read_capture(person).camera_names == SERIALS[:1]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ([1], "no camera has frame 1: copy the photos and masks again, or track the sequence again"),
        ([1, 2], "no camera has frames 1, 2: copy"),
        ([3], "expected one code a frame, and no camera has frame 3: copy"),
        ([0], "expected one code a frame: copy photos that are missing, or track the sequence again"),
    ],
)
def test_frames_that_all_cameras_lack(person, lost, said):
    """Without frame 0 they may be numbered from 1, and the last one be missing."""
    folder = person / "sequences" / "EMO-1"
    for number in lost:
        for path in folder.glob(f"*/*/frame_{number:05d}.png"):
            path.unlink()
    refused(person, f"codes.npz: 4 codes for {4 - len(lost)} frames in {folder}: ", said)


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
    person = folders.nersemble_2(tmp_path, Shoot(frames=1))
    refused(person, "1 frame with codes: expected 2 or more: add frames, or move the folder away")


def test_another_person(person):
    change_codes(person, ident=np.zeros(5))
    refused(person, "another identity", "expected one person")


def test_pictures_of_two_sizes(person):
    path = picture(person, "EMO-1", "images", 0)
    folders.save(path, np.zeros((9, 8, 3), np.uint8))
    refused(person, f"{path}: 8x9 pixels: expected one size for all cameras, 40x60 as ")


@pytest.mark.parametrize("kind", ["images", "alpha_maps"])
def test_a_picture_of_another_size_than_the_first_of_its_camera(person, kind):
    path, first = picture(person, "FREE", kind, 1), picture(person, "EMO-1", "images", 0)
    folders.save(path, np.full((30, 20, 3), 255, np.uint8))
    capture = read_capture(person, ReadOptions(width=20))
    said = re.escape(f"{path}: 20x30 pixels: expected 40x60, as {first} has")
    with pytest.raises(InputError, match=said):
        capture.files.check_headers()
    with pytest.raises(InputError, match=said):
        capture.views(5, [1])


@pytest.mark.parametrize("kind", ["images", "alpha_maps"])
def test_a_file_that_is_no_picture_is_named(person, kind):
    path = picture(person, "FREE", kind, 1)
    path.write_bytes(b"")
    capture = read_capture(person)
    for look in (capture.files.check_headers, lambda: capture.files.check_pixels(5, 1), lambda: capture.views(5, [1])):
        with pytest.raises(InputError) as caught:
            look()
        assert str(caught.value).startswith(f"{path}: not a picture") and "BytesIO" not in str(caught.value)


def test_a_truncated_picture_is_found_by_reading_it_whole(person):
    path = picture(person, "FREE", "images", 1)
    folders.save(path, np.random.default_rng(0).integers(0, 255, (60, 40, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:3000])
    files = read_capture(person).files
    files.check_headers()
    with pytest.raises(InputError, match=r"frame_00001\.png: broken picture"):
        files.check_pixels(5, 1)
    files.check_pixels(4, 1)


def test_sound_files(person):
    files = read_capture(person, ReadOptions(width=20)).files
    files.check_headers()
    for frame in range(2 * FRAMES):
        files.check_pixels(frame, 0)


def test_frames_of_videos_are_not_looked_at(tmp_path):
    pytest.importorskip("imageio")
    files = read_capture(folders.benchmark(tmp_path, Shoot()), ReadOptions(cache=tmp_path / "cache")).files
    files.check_headers()
    files.check_pixels(0, 0)
    assert not (tmp_path / "cache").exists()


def test_a_synthetic_capture_that_was_broken_off(tmp_path):
    steps = synthesize(SynthConfig.preset("tiny"), tmp_path / "half")
    next(steps)
    steps.close()
    refused(tmp_path / "half", f"{tmp_path / 'half'}: it holds a capture that was broken off: remove it")


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


def test_a_camera_of_another_layout_can_be_left_out_as_the_message_says(tmp_path):
    root = folders.gha(tmp_path / "gha", Shoot())
    (root / "images" / "0002" / f"mask_{SERIALS[1]}.jpg").unlink()
    said = f"copy it again, or leave camera {SERIALS[1]} out: delete its camera_*.npz from the folders of cameras/"
    refused(root, f"no mask_{SERIALS[1]}.jpg: {said}")
    for path in root.glob(f"cameras/*/camera_{SERIALS[1]}.npz"):
        path.unlink()
    assert read_capture(root).camera_names == SERIALS[:1]
