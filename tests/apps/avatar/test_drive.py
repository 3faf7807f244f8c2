"""An avatar is driven and exported without its capture."""

import json
import re

import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.avatar import bridges
from gs_reg.apps.avatar.driven_by import Reading
from gs_reg.apps.avatar.files import open_avatar
from gs_reg.apps.avatar.motions import motion_of, neutral_pose
from gs_reg.apps.avatar.player import from_rest, head_cameras
from gs_reg.driving.video import video_frames
from gs_reg.geometry import project
from gs_reg.io import load_splats
from gs_reg.priors import ARKIT
from gs_reg.priors.types import HeadPose


@pytest.fixture(scope="module")
def avatar(finished):
    return open_avatar(finished, torch.device("cpu"))


@pytest.fixture(autouse=True)
def smile_by_arkit(monkeypatch):
    """The ball speaks two of the coefficients."""
    matrix = torch.zeros(len(ARKIT), 3)
    matrix[ARKIT.index("jawOpen"), 0] = matrix[ARKIT.index("mouthSmileLeft"), 1] = 1
    monkeypatch.setattr(bridges, "arkit_matrix", lambda *_: matrix)


def test_held_out_codes_are_used_as_they_are(avatar, capture):
    motion = motion_of(avatar, "held-out", Reading())
    assert torch.allclose(motion.codes, capture.tracks.codes[6:]) and len(motion) == 6
    assert torch.allclose(motion.pose.matrices(), capture.tracks.pose.matrices()[6:], atol=1e-5)
    still = motion_of(avatar, "A", Reading(head="still"))
    assert torch.allclose(still.pose.rotation, still.pose.rotation[:1].expand(6, 3, 3))


def test_a_table_of_coefficients_drives_it(finished, tmp_path, capsys):
    rows = ["jawOpen,mouthSmileLeft,headYaw"] + [f"{i / 20},0,{0.02 * i}" for i in range(11)]
    (tmp_path / "clip.csv").write_text("\n".join(rows))
    out = tmp_path / "clip.mp4"
    assert (
        cli.main(["avatar", "drive", str(finished), str(tmp_path / "clip.csv"), "--out", str(out), "--fps", "60"]) == 0
    )
    frames, fps = video_frames(out)
    shown = np.stack(list(frames))
    assert len(shown) == 11 and fps == 60
    written = json.loads(out.with_suffix(".json").read_text())
    codes = np.array(written["codes"])
    assert (np.diff(codes[:, 0]) > 0).all() and np.ptp(codes[:, 1]) < 1e-6  # relative to its own neutral face
    assert np.abs(shown[0].astype(float) - shown[-1]).mean() > 0.5


def test_another_persons_codes_count_from_their_neutral_face(avatar, finished):
    motion = motion_of(avatar, str(finished), Reading(neutral=3))
    own = avatar.track
    assert len(motion) == len(own) and "relative to neutral" in motion.words
    trained = own.codes[:6]
    at_rest = trained[trained.norm(dim=1).argsort()[:5]].mean(0)
    expected = at_rest + own.codes - own.codes[3]
    inside = (expected >= trained.amin(0)) & (expected <= trained.quantile(0.99, dim=0))
    assert inside.sum() > 8 and torch.allclose(motion.codes[inside], expected[inside], atol=1e-4)
    assert (motion.codes <= trained.amax(0) * 1.11).all()


def test_exports_are_read_again(finished, avatar, tmp_path):
    words = ["avatar", "export", str(finished)]
    assert cli.main([*words, "--out", str(tmp_path / "neutral.ply")]) == 0
    neutral = load_splats(tmp_path / "neutral.ply")
    assert len(neutral) == len(avatar.model.means) and neutral.sh.shape[1] == 16
    assert 0.05 < neutral.means.norm(dim=1).median() < 0.15  # metres
    assert cli.main([*words, "--format", "sequence", "--out", str(tmp_path / "frames")]) == 0
    files = sorted((tmp_path / "frames").glob("frame_*.ply"))
    assert len(files) == 6 and files[0].read_bytes() != files[1].read_bytes()
    frame = load_splats(files[2])
    pose = HeadPose.matrices(avatar.track.pose[[8]])[0]
    expected = avatar.model.posed(avatar.track.codes[8], pose).means
    assert torch.allclose(frame.means, expected.detach(), atol=1e-5)
    assert cli.main([*words, "--frame", "9", "--source", "B", "--out", str(tmp_path / "x.ply")]) == 2
    assert cli.main([*words, "--degrees", "--out", str(tmp_path / "x.ply")]) == 2
    assert cli.main([*words, "--format", "bake", "--codes", "24", "--rank", "4", "--out", str(tmp_path / "bake")]) == 0
    error = json.loads((tmp_path / "bake" / "bake.json").read_text())
    assert error["psnr"] > 20 and error["mm_mean"] < 3 and (tmp_path / "bake" / "avatar.gsbasis").is_file()
    scene = json.loads(re.search(r'id="scene"[^>]*>(.*?)</script>', (tmp_path / "bake" / "player.html").read_text())[1])
    assert len(scene["track"]["codes"]) == 6 and len(scene["cameras"]) == len(avatar.cameras)
    assert cli.main([*words, "--format", "bake", "--rank", "49"]) == 2
    assert cli.main([*words, "--format", "bake", "--codes", "9", "--out", str(tmp_path / "few")]) == 2
    assert not (tmp_path / "few").exists()
    assert cli.main([*words, "--source", "B", "--out", str(tmp_path / "b.ply")]) == 2
    assert not (tmp_path / "b.ply").exists()


def test_the_page_sees_the_head_as_the_capture_does(avatar):
    motion = motion_of(avatar, "held-out", Reading())
    rest = neutral_pose(avatar).matrices()[0].double()
    cameras = head_cameras(avatar, rest)
    assert next(iter(cameras)) == avatar.camera_names[avatar.frontal] and len(cameras) == len(avatar.cameras)
    points = avatar.model.means.detach()
    for pose, world in zip(from_rest(rest, motion.pose.matrices().double()), motion.pose.matrices(), strict=True):
        assert torch.allclose(pose[:3, :3].T @ pose[:3, :3], torch.eye(3).double(), atol=1e-5)
        for name, camera in cameras.items():
            turn = camera.viewmats[0, :3, :3]
            assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-5)
            seen, _ = project(camera.moved(pose.float()), points)
            wanted, _ = project(avatar.cameras[avatar.camera_names.index(name)].moved(world), points)
            assert torch.allclose(seen, wanted, atol=0.05)  # pixels


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.csv"], 2, "no such file or folder, and no sequence of the avatar's: it has held-out, A, B"),
        (["held-out", "--camera", "cam9"], 2, "expected frontal, orbit or one of cam0, cam1"),
        (["held-out", "--out", "film.gif"], 2, "expected a name of a video"),
        (["{tmp}/face.mp4"], 3, "give face_landmarker.task with --task"),
        (["{tmp}/notes.txt"], 2, "expected .csv, .bvh or a video"),
        (["{tmp}"], 2, "not the folder of a run"),
    ],
)
def test_mistakes_are_one_line(finished, tmp_path, capsys, words, code, said, monkeypatch):
    (tmp_path / "face.mp4").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    if words == ["{tmp}"]:
        (tmp_path / "avatar").mkdir()
        (tmp_path / "avatar" / "avatar.json").write_text("{}")
        said = "avatar.safetensors: no such file"
    words = [word.format(tmp=tmp_path) for word in words]
    assert cli.main(["avatar", "drive", str(finished), *words]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1] and lines[-1].startswith("gs-reg: ")


def test_a_run_that_is_not_done_has_no_avatar(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("schema: 1\n")
    assert cli.main(["avatar", "drive", str(tmp_path)]) == 2
    assert "its training is unknown" in capsys.readouterr().err
    assert cli.main(["avatar", "drive"]) == 2
