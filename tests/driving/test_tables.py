"""T20: CSV and BVH, with the header variants and orders that recorders write."""

import logging
import math

import pytest
import torch

from gs_reg.driving.bvh import JOINTS, read_bvh, read_motion
from gs_reg.driving.csv import read_csv, read_table
from gs_reg.driving.gaze import gaze_angles, with_gaze
from gs_reg.driving.types import INDEX, head_angles
from gs_reg.errors import InputError
from gs_reg.priors import ARKIT


def wrote(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("jawOpen", "eyeBlinkLeft", "mouthSmileRight"),
        ("JawOpen", "EyeBlinkLeft", "MouthSmileRight"),
        ("JAWOPEN", "eyeblinkleft", "mouthsmileright"),
        ("jaw_open", "eyeBlink_L", "mouthSmile_R"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_names_in_any_spelling(tmp_path, names, delimiter, caplog):
    rows = [delimiter.join(names), delimiter.join(["0.1", "0.2", "0.3"]), delimiter.join(["0.4", "0.5", "0.6"])]
    with caplog.at_level(logging.WARNING):
        drive = read_csv(wrote(tmp_path / "a.csv", *rows))
    assert drive.arkit.shape == (2, 52) and drive.fps == 60 and drive.seen is None
    for k, name in enumerate(("jawOpen", "eyeBlinkLeft", "mouthSmileRight")):
        torch.testing.assert_close(drive.arkit[:, INDEX[name]], torch.tensor([0.1, 0.4]) + 0.1 * k)
    assert int((drive.arkit != 0).any(0).sum()) == 3  # missing columns are 0
    told = "missing columns count as 0: 49 (browDownLeft, browDownRight, browInnerUp, ...)"
    assert caplog.messages == [f"{tmp_path / 'a.csv'}: {told}"]


def test_a_live_link_recording(tmp_path, caplog):
    """All 52 names, the timecode of a 60 Hz recorder with one frame lost, a frame without a face, and angles."""
    extra = ["HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll"]
    names = [name[0].upper() + name[1:] for name in ARKIT]
    lines = [",".join(["Timecode", "BlendShapeCount", *names, *extra, "Mood"])]
    for t, stamp in enumerate(["10:00:59:58.5", "10:00:59:59.5", "10:01:00:01.5", "10:01:00:02.5"]):
        cells = [""] * 52 if t == 2 else [f"{0.1 * t:.2f}"] * 52
        turn = [""] * 6 if t == 2 else [f"{0.1 * t:.2f}", "0.2", "-0.1", "0", "0", "0"]
        lines.append(",".join([stamp, "52", *cells, *turn, "good"]))
    with caplog.at_level(logging.WARNING):
        drive = read_csv(wrote(tmp_path / "a.csv", *lines))
    assert drive.fps == pytest.approx(60) and len(drive) == 5
    # the rows are of frames 0, 1, 3 and 4; row 2 had no face and lies half between its neighbours
    torch.testing.assert_close(drive.arkit[:, 0], torch.tensor([0.0, 0.1, 0.15, 0.2, 0.3]), atol=1e-5, rtol=0)
    assert drive.seen.tolist() == [True, True, False, False, True]
    angles = head_angles(drive.pose.rotation)
    torch.testing.assert_close(angles[0], torch.tensor([0.0, 0.2, -0.1]), atol=1e-5, rtol=0)
    assert float(angles[4, 0]) == pytest.approx(0.3, abs=1e-5)
    assert "not known and not used: 1 (Mood)" in caplog.text and "missing" not in caplog.text


def test_seconds_and_another_rate(tmp_path):
    rows = [f"{t / 30:.6f},{t / 30:.6f}" for t in range(31)]
    file = wrote(tmp_path / "a.csv", "time,jawOpen", *rows)
    drive = read_csv(file, fps=25)
    assert drive.fps == 25 and len(drive) == 26
    torch.testing.assert_close(drive.arkit[:, INDEX["jawOpen"]], torch.arange(26) / 25, atol=1e-4, rtol=0)
    assert len(read_csv(file, fps=60)) == 61


def test_eyes_by_angles_where_there_are_no_coefficients(tmp_path):
    header = "jawOpen,LeftEyeYaw,LeftEyePitch,RightEyeYaw,RightEyePitch"
    drive = read_csv(wrote(tmp_path / "a.csv", header, "0,15,10,15,-10"), angles="degrees")
    torch.testing.assert_close(
        gaze_angles(drive.arkit).rad2deg(), torch.tensor([[[15.0, 10], [15, -10]]]), atol=1e-4, rtol=0
    )
    # both look to the subject's left: that is out for the left eye, in for the right
    assert drive.arkit[0, INDEX["eyeLookOutLeft"]] == drive.arkit[0, INDEX["eyeLookInRight"]] == 0.5
    assert read_table(wrote(tmp_path / "b.csv", "eyeLookInLeft", "1")).has_eyes
    assert not read_table(wrote(tmp_path / "c.csv", "jawOpen", "1")).has_eyes


def test_gaze_goes_there_and_back():
    angles = (torch.rand(20, 2, 2, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.8
    rest = torch.full((20, 52), 0.25)
    torch.testing.assert_close(gaze_angles(with_gaze(rest, angles)), angles)
    assert bool((with_gaze(rest, angles)[:, INDEX["jawOpen"]] == 0.25).all())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["jawOpen"], "expected a header and at least one row"),
        (["a,b", "1,2"], "expected columns of ARKit names"),
        (["jawOpen,JawOpen", "1,0"], "expected each column once, got 'JawOpen' twice"),
        (["jawOpen,mouthLeft", "0,1", "x,1"], "row 2, column jawOpen: expected a number, got 'x'"),
        (["jawOpen,mouthLeft", "0,nan"], "row 1, column mouthLeft: expected a number"),
        (["jawOpen", "87"], "row 1: expected coefficients from 0 to 1, got jawOpen = 87"),
        (
            ["jawOpen,HeadYaw,HeadPitch", "0,1,0", "0,1,-25"],
            "row 2, column HeadPitch: expected radians of at most 6.283, got -25: if the angles are degrees, give",
        ),
        (["jawOpen,mouthLeft", "0,1", "0,1,0.5"], "row 2: expected 2 cells, as in the header, got 3"),
        (["time,jawOpen", "0,0", "1e-9,1"], "times in seconds: expected 0.1 to 1000 frames a second, got 1e"),
        (
            ["time,jawOpen", "0,0", "0.1,1", "0.2,1", "1e9,1"],
            "times in seconds: expected at most 500,000 frames, got 1e",
        ),
        (
            ["time,jawOpen", "0,0", "16700,1", "33400,1"],
            "times in seconds: expected 0.1 to 1000 frames a second, got 5",
        ),
        (["time,jawOpen", "1,0", "1,0"], "row 2: expected a time after that of the row before"),
        (["timecode,jawOpen", "noon,0"], "row 1: expected a timecode HH:MM:SS:FF, got 'noon'"),
        (["jawOpen,time", ",1", ",2"], "at least one row with coefficients"),
    ],
)
def test_wrong_tables_are_told(tmp_path, lines, words):
    with pytest.raises(InputError, match=words) as raised:
        read_csv(wrote(tmp_path / "a.csv", *lines))
    assert str(raised.value).startswith(str(tmp_path / "a.csv"))


def test_columns_are_told_of_once_the_table_is_read(tmp_path, caplog):
    with pytest.raises(InputError):
        read_csv(wrote(tmp_path / "a.csv", "jawOpen,Mood", "x,good"))
    assert not caplog.messages
    assert len(read_csv(wrote(tmp_path / "b.csv", "jawOpen,mouthLeft", "0,1,", "0,1, ,"))) == 2  # empty cells more


def test_angles_in_degrees_are_limited_too(tmp_path):
    file = wrote(tmp_path / "a.csv", "jawOpen,HeadYaw", "0,15", "0,400")
    with pytest.raises(InputError, match=r"row 2, column HeadYaw: expected degrees of at most 360, got 400$"):
        read_csv(file, angles="degrees")


def skeleton(order: str, head="Head", rows=("0 0 0 0 0 0 10 20 30 25 0 0 5 -8 0 5 -8 0",)):
    """A hip with moves and turns, a head in the given order, a jaw and two eyes in it."""
    turn = "CHANNELS 3 " + " ".join(f"{axis}rotation" for axis in order)
    xyz = "CHANNELS 3 Yrotation Xrotation Zrotation"
    parts = [f"JOINT {head}", "{", "OFFSET 0 50 0", turn]
    for name, channels in (("jaw", "CHANNELS 3 Xrotation Yrotation Zrotation"), ("LeftEye", xyz), ("RightEye", xyz)):
        parts += [f"JOINT {name}", "{", "OFFSET 0 1 2", channels, "End Site", "{", "OFFSET 0 0 1", "}", "}"]
    hip = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    motion = ["MOTION", f"Frames: {len(rows)}", "Frame Time: 0.04", *rows]
    return ["HIERARCHY", "ROOT Hips", "{", "OFFSET 0 0 0", hip, *parts, "}", "}", *motion]


@pytest.mark.parametrize("order", ["XYZ", "ZXY", "YXZ", "ZYX"])
def test_euler_angles_in_the_order_of_the_file(tmp_path, order):
    from scipy.spatial.transform import Rotation

    drive = read_bvh(wrote(tmp_path / "a.bvh", *skeleton(order)))
    # upper case: about the turned axes, the first factor on the left
    expected = torch.from_numpy(Rotation.from_euler(order, [10, 20, 30], degrees=True).as_matrix()).float()
    torch.testing.assert_close(drive.pose.rotation[0], expected)
    assert drive.fps == pytest.approx(25)
    assert float(drive.arkit[0, INDEX["jawOpen"]]) == pytest.approx(1.0)
    torch.testing.assert_close(
        gaze_angles(drive.arkit)[0].rad2deg(), torch.tensor([[5.0, 8.0], [5.0, 8.0]]), atol=1e-3, rtol=0
    )


def test_all_joints_above_the_head_turn_it(tmp_path):
    rows = ["9 9 9 0 0 40 0 0 0 0 0 0 0 0 0 0 0 0"]
    drive = read_bvh(wrote(tmp_path / "a.bvh", *skeleton("YXZ", rows=rows)))
    assert float(head_angles(drive.pose.rotation)[0, 0]) == pytest.approx(math.radians(40), abs=1e-5)


def test_names_can_be_added(tmp_path):
    file = wrote(tmp_path / "a.bvh", *skeleton("XYZ", head="rig:mixamorig:Head"))
    assert len(read_bvh(file)) == 1
    file = wrote(tmp_path / "b.bvh", *skeleton("XYZ", head="kopf"))
    with pytest.raises(InputError, match="expected a joint named like head"):
        read_bvh(file)
    assert len(read_bvh(file, joints={**JOINTS, "head": ("kopf",)})) == 1


def test_an_expression_beside_it_is_matched_by_time(tmp_path):
    rest = "0 0 0 0 0 0 0 0 0 12.5 0 0 0 0 0 0 0 0"
    file = wrote(tmp_path / "a.bvh", *skeleton("XYZ", rows=[rest] * 26))
    smile = wrote(tmp_path / "a.csv", "time,mouthSmileLeft", *(f"{t / 60},{t / 60}" for t in range(61)))
    drive = read_bvh(file, read_table(smile))
    assert len(drive) == 26
    torch.testing.assert_close(drive.arkit[:, INDEX["mouthSmileLeft"]], torch.arange(26) / 25, atol=1e-4, rtol=0)
    torch.testing.assert_close(drive.arkit[:, INDEX["jawOpen"]], torch.full((26,), 0.5))  # of the joint
    jaw = wrote(tmp_path / "b.csv", "time,jawOpen", "0,0.1", "1,0.1")
    torch.testing.assert_close(
        read_bvh(file, read_table(jaw)).arkit[:, INDEX["jawOpen"]], torch.full((26,), 0.1)
    )  # what the table says wins


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: ["no"], "expected a BVH file"),
        (
            lambda lines: ["Frame Time: 1e-9" if "Time" in line else line for line in lines],
            "Frame Time: expected 0.1 to 1000 frames a second, got 1e",
        ),
        (lambda lines: lines[:-1], "expected 1 frames of 18 finite numbers"),
        (lambda lines: [*lines, "7"], "expected 1 frames of 18 finite numbers"),
        (lambda lines: [*lines[:2], *lines[3:]], "broken"),
    ],
)
def test_broken_motion_is_told(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        read_motion(wrote(tmp_path / "a.bvh", *change(skeleton("XYZ"))))
