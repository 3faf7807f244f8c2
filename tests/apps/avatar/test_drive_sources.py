"""What counts as rest in a table, and what is refused before anything is drawn."""

import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.avatar import bridges
from gs_reg.apps.avatar.driven_by import Reading
from gs_reg.apps.avatar.files import open_avatar
from gs_reg.apps.avatar.motions import motion_of, neutral_pose
from gs_reg.driving.types import INDEX, head_angles
from gs_reg.errors import InputError


@pytest.fixture(scope="module")
def avatar(finished):
    return open_avatar(finished, torch.device("cpu"))


@pytest.fixture(autouse=True)
def jaw_by_arkit(monkeypatch):
    """The ball opens its jaw by the coefficient."""
    matrix = torch.zeros(52, 3)
    matrix[INDEX["jawOpen"], 0] = 1
    monkeypatch.setattr(bridges, "arkit_matrix", lambda *_: matrix)


def table(folder, *rows, header="jawOpen,headYaw"):
    path = folder / "clip.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def at_rest(avatar) -> float:
    trained = avatar.track.codes[avatar.train_frames]
    return float(trained[trained.norm(dim=1).argsort()[:5]].mean(0)[0])


def yaw_from_rest(avatar, motion) -> list[float]:
    turns = neutral_pose(avatar).rotation[0].T @ motion.pose.rotation
    return torch.rad2deg(head_angles(turns)[:, 0]).tolist()


def test_one_row_of_an_open_mouth_opens_the_mouth(avatar, tmp_path):
    source = table(tmp_path, "0.3,0.2")
    motion = motion_of(avatar, source, Reading())
    assert float(motion.codes[0, 0]) == pytest.approx(at_rest(avatar) + 0.3, abs=0.02)
    assert motion.words == f"{source}, relative to a face with all coefficients 0"
    assert yaw_from_rest(avatar, motion) == pytest.approx([np.degrees(0.2)], abs=0.1)
    picked = motion_of(avatar, source, Reading(neutral=0))
    assert float(picked.codes[0, 0]) == pytest.approx(at_rest(avatar), abs=1e-4)
    assert yaw_from_rest(avatar, picked) == pytest.approx([0], abs=0.1) and picked.words.endswith("relative to frame 0")


def test_rows_near_rest_are_rest(avatar, tmp_path):
    rows = ["0.4,0", *["0.15,0.1"] * 5]  # as much as a resting face has
    motion = motion_of(avatar, table(tmp_path, *rows), Reading())
    assert motion.words.endswith("relative to the mean of frames 1, 2, 3, 4, 5")
    assert motion.codes[1:, 0].tolist() == pytest.approx([at_rest(avatar)] * 5, abs=1e-4)
    assert yaw_from_rest(avatar, motion)[1:] == pytest.approx([0] * 5, abs=0.1)
    rows[3] = "0.2,0.1"
    motion = motion_of(avatar, table(tmp_path, *rows), Reading())
    assert motion.words.endswith("relative to a face with all coefficients 0")


def test_a_unit_that_the_avatar_has_not_is_no_rest_either(avatar, tmp_path):
    source = table(tmp_path, "0.1,0.9", header="jawOpen,mouthPucker")
    assert motion_of(avatar, source, Reading()).words.endswith("relative to a face with all coefficients 0")


@pytest.mark.parametrize("fps", ["1e9", "5000", "nan", "0", "-1", "inf", "0.001"])
def test_a_rate_that_no_video_has_is_refused(finished, tmp_path, capsys, fps):
    assert "--fps: expected" in refused(capsys, finished, table(tmp_path, "0,0", "1,0"), "--fps", fps)


def test_a_rate_that_no_video_has_is_refused_in_files(avatar, tmp_path):
    path = tmp_path / "driven.json"
    pose = np.eye(4).tolist()
    for fps, said in (("5000", "got 5000"), ("NaN", "got nan"), ("0", "got 0"), ("-3", "got -3")):
        path.write_text(f'{{"codes": [[0, 0, 0]], "poses": [{pose}], "source": "a", "fps": {fps}}}')
        with pytest.raises(InputError, match=f"driven.json: expected .* 0.1 to 1000 frames a second, {said}"):
            motion_of(avatar, str(path), Reading())


def refused(capsys, run, *words) -> str:
    """The one line of a command that is refused."""
    assert cli.main(["avatar", "drive", str(run), *map(str, words)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("gs-reg: ")
    return line


TABLE, FOLDER = "clip.csv is a table", "is a folder of another avatar or capture"
OWN, DRIVEN = "is a sequence of the avatar's own capture", "driven.json is the .json of a driven video"


@pytest.mark.parametrize(
    ("source", "flag", "value", "said"),
    [
        ("{tmp}/clip.csv", "--calibration", "nowhere.json", (TABLE, "give it only for videos")),
        ("{tmp}/clip.csv", "--focal", "900", (TABLE, "give it only for videos")),
        ("{tmp}/clip.csv", "--task", "t", (TABLE, "where the avatar's prior does not speak ARKit coefficients")),
        ("held-out", "--neutral", "0", (f"held-out {OWN}", "tables, skeletons, videos and other folders")),
        ("A", "--task", "t", (f"A {OWN}",)),
        ("{tmp}/driven.json", "--neutral", "0", (DRIVEN,)),
        ("{tmp}/driven.json", "--degrees", "", (DRIVEN, "tables, and skeletons with a table beside them")),
        ("{run}", "--calibration", "nowhere.json", (FOLDER, "videos")),
        ("{tmp}/walk.bvh", "--degrees", "", ("walk.bvh is a skeleton",)),
        ("{tmp}/face.mp4", "--degrees", "", ("face.mp4 is a video",)),
    ],
)
def test_a_flag_that_does_not_apply_is_refused(finished, tmp_path, capsys, source, flag, value, said):
    table(tmp_path, "0,0")
    for name in ("driven.json", "walk.bvh", "face.mp4"):
        (tmp_path / name).write_text("x")
    named = source.format(tmp=tmp_path, run=finished)
    line = refused(capsys, finished, named, flag, *([value] if value else []))
    assert line.startswith(f"gs-reg: {flag}: ") and all(words in line for words in said)


def test_the_model_of_faces_goes_with_a_table_where_a_bridge_is_needed(avatar, tmp_path, monkeypatch):
    monkeypatch.setattr(bridges, "arkit_matrix", lambda *_: None)
    with pytest.raises(bridges.MissingPart, match="no such file"):
        motion_of(avatar, table(tmp_path, "0,0"), Reading(task=tmp_path / "none.task"))


def test_angles_in_degrees(avatar, finished, tmp_path, capsys):
    source = table(tmp_path, "0,0", *["0,0"] * 4, "0,15")
    line = refused(capsys, finished, source)
    assert "clip.csv: row 6, column headYaw: expected radians of at most 6.283, got 15" in line and "--degrees" in line
    motion = motion_of(avatar, source, Reading(degrees=True))
    assert yaw_from_rest(avatar, motion)[5] == pytest.approx(15, abs=0.1)
    words = ["avatar", "export", str(finished), "--source", source, "--format", "sequence", "--out"]
    assert cli.main([*words, str(tmp_path / "radians")]) == 2
    assert cli.main([*words, str(tmp_path / "degrees"), "--degrees", "--fps", str(motion.fps / 2)]) == 0
    assert len(list((tmp_path / "degrees").iterdir())) == 3


@pytest.mark.parametrize("name", ["file/driven.mp4", "file/deep/driven.mp4", "folder.mp4"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_drawn(finished, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr("gs_reg.apps.avatar.drive.motion_of", lambda *_: pytest.fail("the source was read"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.mp4").mkdir()
    line = refused(capsys, finished, "held-out", "--out", tmp_path / name)
    assert name in line and ("cannot be written" in line or "is a folder" in line)
