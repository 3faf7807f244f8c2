"""Driving by videos and skeletons through the commands, with a detector of faces that reads brightness for scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.avatar import bridges
from gs_reg.apps.avatar.drive import with_inset
from gs_reg.apps.avatar.driven_by import Reading
from gs_reg.apps.avatar.files import open_avatar
from gs_reg.apps.avatar.motions import motion_of
from gs_reg.apps.look.video import write_video
from gs_reg.driving import Calibration, landmarker, training_range
from gs_reg.driving.landmarker import Face
from gs_reg.driving.types import INDEX

FRAMES = 25
JAW = INDEX["jawOpen"]


class Detector:
    """jawOpen is half of the brightness; black pictures show no face."""

    def __init__(self, task):
        self.task = task

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __call__(self, image):
        bright = float(image.mean()) / 255
        arkit = torch.zeros(52)
        arkit[JAW] = bright / 2
        return Face(arkit, torch.eye(4), torch.zeros(1, 2)) if bright > 0.02 else None


def jaw_alone(*_):
    """The ball opens its jaw by the coefficient."""
    return torch.eye(52)[JAW, :, None] * torch.tensor([1.0, 0, 0])


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr(landmarker, "Landmarker", Detector)
    monkeypatch.setattr(bridges, "Landmarker", Detector)
    monkeypatch.setattr(bridges, "arkit_matrix", jaw_alone)


@pytest.fixture
def avatar(finished):
    return open_avatar(finished, torch.device("cpu"))


def video(path, amounts, fps=25.0):
    write_video(path, (np.full((32, 48, 3), round(20 + 200 * a), np.uint8) for a in amounts), fps)
    return path


@pytest.fixture
def sweep(tmp_path):
    """A video of a jaw that opens, and the table of its coefficients."""
    amounts = np.linspace(0, 1, FRAMES)
    (tmp_path / "sweep.csv").write_text("jawOpen\n" + "\n".join(f"{a:.4f}" for a in amounts))
    return video(tmp_path / "sweep.mp4", amounts)


def calibrate(*words) -> int:
    return cli.main(["avatar", "calibrate", *map(str, words)])


def test_a_calibration_by_known_coefficients_drives_as_the_person_moved(finished, avatar, sweep, tmp_path, capsys):
    curves = tmp_path / "curves.json"
    assert calibrate(sweep, "--truth", tmp_path / "sweep.csv", "--task", "t", "--out", curves) == 0
    assert f"curves of 52 units from {FRAMES} frames" in capsys.readouterr().err
    clip = video(tmp_path / "clip.mp4", [0.5] * 10)  # never at rest
    out = tmp_path / "driven.mp4"
    words = ["avatar", "drive", str(finished), str(clip), "--task", "t", "--calibration", str(curves)]
    assert cli.main([*words, "--out", str(out), "--neutral", "0"]) == 0
    relative = np.array(json.loads(out.with_suffix(".json").read_text())["codes"])[:, 0]
    assert cli.main([*words, "--out", str(out)]) == 0
    codes = np.array(json.loads(out.with_suffix(".json").read_text())["codes"])[:, 0]
    trained = avatar.track.codes[avatar.train_frames]
    at_rest = trained[trained.norm(dim=1).argsort()[:5]].mean(0)
    bounds = training_range(trained, torch.zeros(3))
    half_open = bounds.soft_clamp(at_rest + torch.tensor([0.5, 0, 0]))
    assert len(codes) == 10 and np.allclose(codes, float(half_open[0]), atol=0.03)
    assert np.allclose(relative, float(at_rest[0]), atol=0.01) and codes[0] > relative[0] + 0.1


def test_a_calibration_by_range_stretches_what_the_clip_shows(sweep, tmp_path):
    assert calibrate(sweep, "--neutral", 0, "--task", "t", "--out", tmp_path / "range.json") == 0
    curves = Calibration.load(tmp_path / "range.json")
    scores = torch.zeros(2, 52)
    scores[:, JAW] = torch.tensor([10 / 255, 110 / 255])
    assert torch.allclose(curves(scores)[:, JAW], torch.tensor([0.0, 1.0]), atol=0.05)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no video named"),
        (["{tmp}/sweep.mp4"], 3, "give the path of face_landmarker.task"),
        (["{tmp}/none.mp4", "--task", "t"], 2, "none.mp4: no such file: expected a video"),
        (["{tmp}/short.csv", "--task", "t"], 2, "short.csv: not a video that ffmpeg reads"),
        (["{tmp}/sweep.mp4", "--task", "t", "--degrees"], 2, "--degrees: expected it only with --truth"),
        (["{tmp}/sweep.mp4", "--task", "t", "--out", "{tmp}/short.csv/me.json"], 2, "me.json: cannot be written"),
        (
            ["{tmp}/sweep.mp4", "--task", "t", "--truth", "{tmp}/short.csv", "--neutral", "0"],
            2,
            "--neutral: with --truth the table tells which frames are at rest",
        ),
        (["{tmp}/sweep.mp4", "--task", "t", "--neutral", "25"], 2, "--neutral 25: expected a frame of"),
        (["{tmp}/sweep.mp4", "--task", "t", "--truth", "{tmp}/short.csv"], 2, "short.csv: expected 25 rows"),
        (
            ["{tmp}/sweep.mp4", "--task", "t", "--truth", "{tmp}/open.csv"],
            2,
            "open.csv: expected at least one frame with",
        ),
        (["{tmp}/black.mp4", "--task", "t"], 2, "black.mp4: expected a face, found none in 5 frames"),
    ],
)
def test_mistakes_of_calibrating_are_one_line(sweep, tmp_path, capsys, words, code, said):
    (tmp_path / "short.csv").write_text("jawOpen\n0\n1\n")
    (tmp_path / "open.csv").write_text("jawOpen\n" + "1\n" * FRAMES)
    video(tmp_path / "black.mp4", [-0.1] * 5)
    assert calibrate(*(word.format(tmp=tmp_path) for word in words)) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gs-reg: ")]
    assert len(lines) == 1 and said in lines[0]


def test_the_rate_of_any_source_can_be_changed(avatar, finished, sweep):
    for source, count in (("held-out", 6), (str(finished), 12), (str(sweep), FRAMES)):
        task = Path("t") if source == str(sweep) else None
        own = motion_of(avatar, source, Reading(task=task))
        half = motion_of(avatar, source, Reading(fps=own.fps / 2, task=task))
        assert len(own) == count and len(half) == (count + 1) // 2 and half.fps == own.fps / 2
        assert torch.allclose(half.codes, own.codes[::2], atol=1e-5)


def test_a_short_clip_that_is_never_at_rest_counts_from_scores_of_0(avatar, tmp_path):
    how = Reading(task=Path("t"))
    short, long = (motion_of(avatar, str(video(tmp_path / "a.mp4", [1.0] * count)), how) for count in (3, 30))
    assert short.words.endswith("a.mp4, relative to a face with all coefficients 0")
    assert long.words.endswith("a.mp4, relative to the mean of frames 0, 1, 2, 3, 4")
    assert float(short.codes[0, 0]) > float(long.codes[0, 0]) + 0.3
    rests = motion_of(avatar, str(video(tmp_path / "b.mp4", [0.0, 0.1, 0.1, 0.1, 0.2, 1.0])), how)
    assert rests.words.endswith("b.mp4, relative to the mean of frames 0, 1, 2, 3, 4")


def test_the_inset_shows_the_source_at_the_same_time(sweep):
    blank = [np.zeros((100, 100, 3), np.uint8)] * 12
    shown = [frame[-1, 0].mean() for frame in with_inset(iter(blank), sweep, 12.5)]
    wanted = [20 + 200 * 2 * i / (FRAMES - 1) for i in range(12)]
    assert np.allclose(shown, wanted, atol=6)


def test_a_skeleton_and_the_table_beside_it_drive_together(avatar, tmp_path):
    bvh = """HIERARCHY
ROOT Hips
{ OFFSET 0 0 0
CHANNELS 3 Zrotation Xrotation Yrotation
JOINT Head
{ OFFSET 0 1 0
CHANNELS 3 Zrotation Xrotation Yrotation
JOINT Jaw
{ OFFSET 0 0 1
CHANNELS 3 Zrotation Xrotation Yrotation
End Site
{ OFFSET 0 0 1
} } } }
MOTION
Frames: 6
Frame Time: 0.05
"""
    rows = [f"0 0 0 0 0 {4 * i} 0 {2.5 * i} 0" for i in range(6)]
    path = tmp_path / "walk.bvh"
    path.write_text(bvh + "\n".join(rows))
    jaw = motion_of(avatar, str(path), Reading(neutral=0))
    rise = (jaw.codes - jaw.codes[:1])[:, 0]
    assert jaw.fps == 20 and torch.allclose(rise[:4], torch.arange(4) / 10, atol=0.02)
    turn = jaw.pose.rotation[5] @ jaw.pose.rotation[0].T
    assert abs(float(torch.rad2deg(torch.acos((turn.trace() - 1) / 2))) - 20) < 0.2
    (tmp_path / "walk.csv").write_text("mouthSmileLeft\n" + "0\n" * 18)  # says nothing of the jaw
    assert torch.allclose(motion_of(avatar, str(path), Reading(neutral=0)).codes, jaw.codes, atol=1e-5)


def test_a_prior_without_coefficients_gets_a_bridge_from_its_own_pictures(avatar, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(bridges, "arkit_matrix", lambda *_: None)
    table = tmp_path / "clip.csv"
    table.write_text("jawOpen\n0\n0.1\n")
    with pytest.raises(bridges.MissingPart, match="prior ball does not speak ARKit coefficients: give MediaPipe's"):
        motion_of(avatar, str(table), Reading())
    with pytest.raises(bridges.InputError, match="found on 6 pictures of the avatar: too few for a bridge"):
        motion_of(avatar, str(table), Reading(task=tmp_path / "t"))
    monkeypatch.setattr(bridges, "evenly", lambda frames, count: list(frames) * 5)
    motion = motion_of(avatar, str(table), Reading(task=tmp_path / "t"))
    kept = avatar.folder / bridges.BRIDGE
    try:
        assert len(motion) == 2 and motion.codes.isfinite().all() and kept.is_file()
        assert torch.equal(motion_of(avatar, str(table), Reading()).codes, motion.codes)  # it is kept
    finally:
        kept.unlink()
