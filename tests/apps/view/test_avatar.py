"""What the controls of an avatar's page do, without a browser."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gs_reg.apps.avatar.drawing import as_bytes, draw_posed
from gs_reg.apps.avatar.driven_by import Reading
from gs_reg.apps.avatar.files import open_avatar
from gs_reg.apps.avatar.motions import motion_of, write_motion
from gs_reg.apps.view.avatar import gaze
from gs_reg.apps.view.avatar.head import Head, Pose
from gs_reg.apps.view.avatar.keyframes import drawn, motion_through
from gs_reg.apps.view.avatar.page import AvatarPage
from gs_reg.apps.view.avatar.panels import IN_A_GROUP, OTHER, groups_of, read_upload
from gs_reg.apps.view.avatar.playing import Player
from gs_reg.apps.view.kinds import is_avatar
from gs_reg.apps.view.server import Address, served
from gs_reg.driving.gaze import gaze_angles
from gs_reg.errors import InputError, MissingPart
from gs_reg.geometry import transform_cameras
from gs_reg.priors.arkit import ARKIT

from .heads import write_avatar_run
from .scenes import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_avatar_run(tmp_path_factory.mktemp("avatar") / "run")


@pytest.fixture(scope="module")
def avatar(run):
    return open_avatar(run, torch.device("cpu"))


def test_it_is_told_from_other_runs(run, tmp_path):
    assert is_avatar(run) and is_avatar(run / "avatar")
    assert not is_avatar(write_run(tmp_path / "scene")) and not is_avatar(tmp_path / "nothing")


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (20.0, -10.0, 5.0)])
def test_a_picture_is_that_of_the_avatar(avatar, turn):
    head = Head(avatar)
    code = avatar.track.codes[5]
    head.pose = Pose(code, avatar.track.pose.matrices()[5], turn)
    page = transform_cameras(torch.linalg.inv(head.world_from_page), avatar.cameras[1].to(dtype=torch.float64))
    with torch.no_grad():
        wanted = as_bytes(draw_posed(avatar.model, code, head.pose.matrix, avatar.cameras[1])[0])
    picture = head.draw(page.to(dtype=torch.float32), False)
    assert abs(picture.astype(int) - wanted).max() <= 2 and picture.std() > 20


def test_directions_of_the_head():
    """x is to the subject's left, y up, z out of the face."""
    ahead, up = torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 1, 0])

    def turned(turn):
        return Pose(torch.zeros(1), torch.eye(4), turn).matrix[:3, :3]

    assert (turned((30, 0, 0)) @ ahead)[0] > 0.4
    assert (turned((0, 30, 0)) @ ahead)[1] > 0.4
    assert (turned((0, 0, 30)) @ up)[0] > 0.4


def test_groups_have_every_channel_once():
    groups = groups_of((*ARKIT, "tongueOut2", *(f"z{i}" for i in range(30))))
    assert sorted(row for rows in groups.values() for row in rows) == list(range(len(ARKIT) + 31))
    assert [ARKIT[row] for row in groups["jaw"]] == ["jawForward", "jawLeft", "jawOpen", "jawRight"]
    assert len(groups[f"{OTHER} 1 to {IN_A_GROUP}"]) == IN_A_GROUP
    assert list(groups_of(("a", "b"))) == [OTHER]


def test_frames_and_files(avatar, tmp_path):
    with served(Address(), "test") as server:
        page = AvatarPage(server, avatar, tmp_path / "out")
        with pytest.raises(InputError, match=r"a\.txt: expected a table"):
            read_upload(page, "a.txt", b"")
        with pytest.raises(InputError):
            read_upload(page, "a.csv", b"no,table\n1,2\n")
        with pytest.raises(MissingPart, match="does not speak ARKit"):  # the toy prior
            read_upload(page, "a.csv", ("jawOpen\n" + "0.5\n" * 5).encode())
        first, second = page.save(), page.save()
        assert first.name == "posed.ply" and second.name == "posed-2.ply"
        page.close()


def test_eyes_look_together():
    names = ("jawOpen", *(name for name in ARKIT if name.startswith("eyeLook")))
    rows = gaze.rows_of(names)
    assert rows is not None and gaze.rows_of(names[:-1]) is None
    code = torch.full((len(names),), 0.3)
    looks = gaze.looking(code, rows, 0.5, -0.25)
    found = {name: float(value) for name, value in zip(names, looks, strict=True)}
    wanted = {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5, "eyeLookDownLeft": 0.25, "eyeLookDownRight": 0.25}
    assert found == pytest.approx({name: 0.0 for name in names} | wanted | {"jawOpen": 0.3})
    assert gaze.direction(looks, rows) == pytest.approx((0.5, -0.25))
    # as driving by angles has it
    arkit = torch.zeros(52)
    arkit[[ARKIT.index(name) for name in names]] = looks
    angles = gaze_angles(arkit)
    assert float(angles[0, 0]) > 0 and angles[0].equal(angles[1]) and float(angles[0, 1]) < 0


def test_faces_are_moved_through(avatar, tmp_path):
    rest = Head(avatar).rest
    open_mouth = replace(rest, code=avatar.track.codes[5], turn=(20.0, 0.0, 0.0))
    motion = motion_through([rest, open_mouth, rest], avatar.track.pose.unit_m, 0.5, 20.0)
    assert len(motion) == 21 and motion.fps == 20.0
    matrices = motion.pose.matrices()
    for frame, pose in ((0, rest), (10, open_mouth), (20, rest)):
        torch.testing.assert_close(motion.codes[frame], pose.code)
        torch.testing.assert_close(matrices[frame], pose.matrix.float(), atol=1e-6, rtol=0)
    moves = (motion.codes[1:] - motion.codes[:-1]).norm(dim=1)
    assert moves[0] < 0.5 * moves[4] and moves[9] < 0.5 * moves[4]
    with pytest.raises(InputError, match="at least 2 faces, got 1"):
        motion_through([rest], avatar.track.pose.unit_m, 0.5, 20.0)
    # what is written beside a video drives the same again
    path = tmp_path / "driven.json"
    write_motion(path, motion)
    again = motion_of(avatar, str(path), Reading())
    torch.testing.assert_close(again.codes, motion.codes, atol=1e-5, rtol=0)
    torch.testing.assert_close(again.pose.matrices(), matrices, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codes": [[0.0, 1.0]]}, "expected codes of"),
        ({"poses": []}, "expected a pose of 4x4 for each"),
        ({"fps": 0}, "finite codes and poses"),
        ({"codes": None}, "broken.json"),
        ({"poses": [[[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]] * 2}, "got a shear"),
    ],
)
def test_a_broken_motion_is_named(avatar, tmp_path, change, words):
    path = tmp_path / "broken.json"
    write_motion(path, motion_through([Head(avatar).rest] * 2, avatar.track.pose.unit_m, 0.1, 10.0))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=words):
        motion_of(avatar, str(path), Reading())


def test_a_motion_is_recorded_from_any_camera(avatar, tmp_path):
    with served(Address(), "test") as server:
        page = AvatarPage(server, avatar, tmp_path / "out")
        head, bar = page.head, SimpleNamespace(value=0.0)
        faces = [head.rest, replace(head.rest, turn=(40.0, 0.0, 0.0))]
        motion = motion_through(faces, avatar.track.pose.unit_m, 0.2, 10.0)
        view = transform_cameras(torch.linalg.inv(head.world_from_page), avatar.cameras[1].to(dtype=torch.float64))
        camera = view.to(dtype=torch.float32)
        frames = [*drawn(page, motion, camera, bar)]
        assert len(frames) == 3 and bar.value > 0
        for frame, pose in ((frames[0], faces[0]), (frames[2], faces[1])):
            assert abs(frame.astype(int) - head.draw(camera, False, pose)).max() <= 2
        assert abs(frames[0].astype(int) - frames[2]).mean() > 1
        page.close()


def test_a_player_keeps_time_and_stops():
    shown = []
    player = Player(shown.append)
    player.start()
    player.fps = 100.0
    player.play(7)
    end = time.monotonic() + 20
    while len(shown) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    player.pause()
    time.sleep(0.3)
    count = len(shown)
    time.sleep(0.2)
    assert len(shown) == count and shown[0] == 7 and shown == sorted(set(shown))
    player.close()
