"""What a user may get wrong, through the commands: one line that names the file and what would be right."""

import pickle
import shutil

import numpy as np
import pytest

from gs_reg.apps import cli
from tests.data_tools.heads import folders
from tests.data_tools.heads.folders import FRAMES, HEIGHT, SERIALS, WIDTH, Shoot

CHECK, TRAIN = ("avatar", "check"), ("avatar", "train", "--preset", "ci", "--dry-run")
ALL = ("EMO-1", "FREE")
pytestmark = pytest.mark.usefixtures("real_readers")


def change(person, sequence, **arrays):
    path = person / "sequences" / sequence / "codes.npz"
    np.savez(path, **{**np.load(path), **arrays})


def remove(person, *parts):
    path = person.joinpath("sequences", *parts)
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def one_frame(person):
    for kind in ("images", "alpha_maps"):
        for serial in SERIALS:
            for number in range(1, FRAMES):
                remove(person, "FREE", kind, f"cam_{serial}", f"frame_{number:05d}.png")
    change(person, "FREE", z=np.ones((1, 52), np.float32), head_pose=np.eye(4)[None])


def not_a_number(person):
    codes = Shoot().codes("EMO-1")
    codes[2, 7] = np.nan
    change(person, "EMO-1", z=codes)


def in_all(**arrays):
    return lambda person: [change(person, sequence, **arrays) for sequence in ALL]


def flame_2020(person):
    for sequence in ALL:
        remove(person, sequence, "codes.npz")
        tracking = person / "sequences" / sequence / "tracking"
        folders.write_flame(tracking / "flame2020_tracking_v2.npz", FRAMES)


def said_by(capsys, code, *words) -> str:
    assert cli.main([str(word) for word in words]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gs-reg: ")]
    assert len(lines) == 1
    return lines[0]


MISTAKES = {
    "no camera": (
        lambda p: remove(p, "FREE", "images", f"cam_{SERIALS[0]}"),
        f"FREE/images: nothing of camera {SERIALS[0]}: expected cam_{SERIALS[0]}.mp4",
    ),
    "a dropped frame": (
        lambda p: remove(p, "FREE", "images", f"cam_{SERIALS[1]}", "frame_00002.png"),
        f"FREE: camera {SERIALS[1]}: 3 photos for 4 frames; the first that is missing is 2",
    ),
    "a mask that is absent": (
        lambda p: remove(p, "EMO-1", "alpha_maps", f"cam_{SERIALS[1]}", "frame_00000.png"),
        f"EMO-1: camera {SERIALS[1]}: 3 masks for 4 frames",
    ),
    "no masks": (lambda p: remove(p, "EMO-1", "alpha_maps"), "EMO-1: no alpha_maps: masks of the person are needed"),
    "codes of two sizes": (
        lambda p: change(p, "EMO-1", z=np.eye(FRAMES, 9, dtype=np.float32)),
        "FREE/codes.npz: codes of 52 numbers of anny, but 9 numbers of anny in",
    ),
    "codes of a wrong size": (
        in_all(z=np.eye(FRAMES, 9, dtype=np.float32)),
        "017: track: expected codes of 52 numbers for anny, got 9",
    ),
    "fewer codes than frames": (
        lambda p: change(p, "EMO-1", z=np.eye(3, 52, dtype=np.float32), head_pose=np.tile(np.eye(4), (3, 1, 1))),
        "EMO-1/codes.npz: 3 codes for 4 frames",
    ),
    "one frame": (
        one_frame,
        "sequences/FREE: 1 frame with codes: expected 2 or more: add frames, or move the folder away",
    ),
    "NaN in a code": (not_a_number, "EMO-1/codes.npz: z of frame 2 is not finite: track the sequence again"),
    "NaN in a pose": (in_all(head_pose=np.full((FRAMES, 4, 4), np.nan)), "head_pose of frame 0 is not finite"),
    "an unknown prior": (in_all(prior=np.array("smplx")), "017: its codes: prior: expected one of anny, ict"),
    "another person's shape": (in_all(ident=np.zeros(7)), "017: ident of 7 numbers in its codes: expected "),
    "a prior to bring": (
        in_all(prior=np.array("ict"), z=np.eye(FRAMES, 57, dtype=np.float32)),
        "017: its codes: prior ict: its files are yours to bring: name their folder with --prior-folder",
    ),
    "no codes": (lambda p: remove(p, "FREE", "codes.npz"), "FREE: no codes of a tracker: expected codes.npz or"),
}


@pytest.mark.parametrize("command", [CHECK, TRAIN], ids=("check", "train"))
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_faulty_capture_is_refused_in_one_line(person, capsys, mistake, command):
    spoil, said = MISTAKES[mistake]
    spoil(person)
    assert said in said_by(capsys, 2, *command, person)


def test_an_empty_mask_is_named(person, capsys):
    path = person / "sequences" / "EMO-1" / "alpha_maps" / f"cam_{SERIALS[0]}" / "frame_00000.png"
    folders.save(path, np.zeros((HEIGHT, WIDTH), np.uint8))
    assert f"{path}: an empty mask: expected the person in white" in said_by(capsys, 2, *CHECK, person)


def test_years_of_flame_do_not_mix(person, capsys, tmp_path):
    flame_2020(person)
    said = said_by(capsys, 2, *CHECK, person)
    assert (
        "017: its codes: prior flame2020: its files are yours to bring: name their folder with --prior-folder" in said
    )
    (tmp_path / "flame2023_no_jaw.pkl").write_bytes(pickle.dumps({}))
    said = said_by(capsys, 2, *TRAIN, person, "--prior-folder", tmp_path / "flame2023_no_jaw.pkl")
    assert "flame2023_no_jaw.pkl: is FLAME 2023, while FLAME 2020 is asked for: their codes are not the same" in said


def test_files_of_a_prior_that_were_moved(person, capsys, tmp_path):
    in_all(prior=np.array("ict"), z=np.eye(FRAMES, 57, dtype=np.float32))(person)
    gone = tmp_path / "gone"
    said = said_by(capsys, 2, *TRAIN, person, "--prior-folder", gone)
    assert f"its codes: {gone}: No such file or directory: name where it is with --prior-folder" in said


def test_poses_inside_of_flame_need_the_model(tmp_path, capsys):
    root = folders.gaussian_avatars(tmp_path, Shoot())
    said = said_by(capsys, 2, *CHECK, root)
    assert f"{root}: poses inside of FLAME: give the file or folder of FLAME 2023 with --prior-folder" in said


def test_tracking_says_what_it_needs_before_it_looks_at_photos(person, capsys, tmp_path):
    words = ("avatar", "track", person)
    assert "give the path of face_landmarker.task" in said_by(capsys, 3, *words)
    words = (*words, "--task", tmp_path / "face.task")
    assert "EMO-1/codes.npz: there are codes already: --overwrite" in said_by(capsys, 2, *words)
    words = (*words, "--overwrite")
    assert "017: 1 camera: expected 2 or more" in said_by(capsys, 2, *words, "--cameras", SERIALS[0])
    said = said_by(capsys, 2, *words, "--neutral", "FREE/00009")
    assert "--neutral FREE/00009: no such frame: expected SEQUENCE/NUMBER, from EMO-1/00000 to FREE/00003" in said
    assert "prior: expected one of anny" in said_by(capsys, 2, *words, "--prior", "anni")
    assert "face.task: no such file" in said_by(capsys, 3, *words)
    remove(person, "FREE", "images", f"cam_{SERIALS[1]}", "frame_00002.png")
    assert f"camera {SERIALS[1]}: 3 photos for 4 frames; the first" in said_by(capsys, 2, *words)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nan.csv", "jawOpen\n0\nnan\n", "nan.csv: row 2, column jawOpen: expected a number, got 'nan'"),
        ("names.csv", "mouth\n0\n", "names.csv: expected columns of ARKit names such as jawOpen, got 'mouth'"),
        ("percent.csv", "jawOpen\n80\n", "percent.csv: row 1: expected coefficients from 0 to 1, got jawOpen = 80"),
        ("times.csv", "time,jawOpen\n1,0\n0,0\n", "times.csv: row 2: expected a time after that of the row before"),
        ("empty.csv", "", "empty.csv: expected a header and at least one row"),
        ("no.bvh", "hello", "no.bvh: expected a BVH file (HIERARCHY, then MOTION)"),
        (
            "short.bvh",
            "HIERARCHY ROOT Head { CHANNELS 1 Xrotation } MOTION Frames: 3 Frame Time: 1 0 0",
            "3 frames of 1",
        ),
        (
            "hand.bvh",
            "HIERARCHY ROOT Hand { CHANNELS 1 Xrotation } MOTION Frames: 1 Frame Time: 1 0",
            "named like head",
        ),
    ],
)
def test_a_faulty_table_or_skeleton_is_refused_in_one_line(finished, tmp_path, capsys, name, content, said):
    (tmp_path / name).write_text(content)
    assert said in said_by(capsys, 2, "avatar", "drive", finished, tmp_path / name)


def test_a_frame_at_rest_that_is_none_of_the_source(finished, tmp_path, capsys):
    said = said_by(capsys, 2, "avatar", "drive", finished, finished, "--neutral", "12")
    assert said.endswith(f"--neutral 12: expected a frame of {finished}, 0 to 11")


def test_codes_of_another_prior_do_not_drive(finished, person, capsys):
    said = said_by(capsys, 2, "avatar", "drive", finished, person)
    assert f"{person}: codes of prior anny with 52 channels: expected ball with 3, as the avatar has" in said
