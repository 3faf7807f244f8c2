"""Captures of every layout: the same cameras, frames, masks and codes come out of each."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gs_reg.data_tools.heads import ReadOptions, check_codes, read_capture
from gs_reg.errors import InputError
from gs_reg.priors.flame_rig import FlameRig
from gs_reg.priors.toy import ToyPrior
from tests.data_tools.heads import folders
from tests.data_tools.heads.folders import FRAMES, HEIGHT, SERIALS, WIDTH, Shoot

POINT = np.array([0.05, -0.02, 0.03])
LAYOUTS = {
    "v2": folders.nersemble_2,
    "benchmark": folders.benchmark,
    "gaussian avatars": folders.gaussian_avatars,
    "gha": folders.gha,
}


def flame_rig() -> FlameRig:
    """FLAME's mathematics on six vertices."""
    r = np.random.default_rng(0)
    shapes = [(6, 3), (300, 6, 3), (100, 6, 3), (36, 6, 3), (5, 6)]
    floats = [torch.from_numpy(0.01 * r.normal(size=shape)).float() for shape in shapes]
    weights = torch.eye(5)[torch.tensor([0, 1, 2, 3, 4, 1])]
    return FlameRig(*floats, weights, torch.tensor([-1, 0, 1, 1, 1]))


@dataclass(frozen=True)
class Flame(ToyPrior):
    """What readers ask of a FLAME prior."""

    name: str = "flame2023"
    size: int = 112
    rig: FlameRig = field(default_factory=flame_rig)

    @property
    def dim(self) -> int:
        return self.size


def read(path, prior=None, **options):
    cache = path.parent / "cache"
    return read_capture(path, ReadOptions(cache=cache, **options), prior or Flame())


def projected(capture, camera: int) -> np.ndarray:
    camera_point = capture.cameras.viewmats[camera].double().numpy() @ np.append(POINT, 1)
    image = capture.cameras.Ks[camera].double().numpy() @ camera_point[:3]
    return image[:2] / image[2]


def in_world(capture, frame: int, head: np.ndarray) -> np.ndarray:
    """A point of the head frame, in metres, by the pose of a frame."""
    return (capture.tracks.pose.matrices()[frame].double().numpy() @ np.append(head / 0.25, 1))[:3]


def expected(shoot: Shoot, camera: int) -> np.ndarray:
    image = shoot.Ks[camera] @ (shoot.poses[camera] @ np.append(POINT, 1))[:3]
    return image[:2] / image[2]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_point_projects_to_the_same_pixel_in_every_layout(tmp_path, layout):
    """Principal points are off the middle, and OpenGL's axes are turned."""
    shoot = Shoot()
    capture = read(LAYOUTS[layout](tmp_path / "data", shoot))
    assert capture.camera_names == SERIALS
    for camera in range(2):
        assert projected(capture, camera) == pytest.approx(expected(shoot, camera), abs=1e-3)
    half = read(LAYOUTS[layout](tmp_path / "again", shoot), width=WIDTH // 2)
    assert (half.cameras.width, half.cameras.height) == (WIDTH // 2, HEIGHT // 2)
    assert projected(half, 1) == pytest.approx(expected(shoot, 1) / 2, abs=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_photos_and_masks_are_of_their_frame_and_camera(tmp_path, layout):
    shoot = Shoot()
    capture = read(LAYOUTS[layout](tmp_path / "data", shoot))
    for name in capture.sequences:
        for frame in name.frames:
            number = int(capture.frame_names[frame].split("/")[1])
            for camera in range(2):
                sequence = "EMO-1" if layout == "gha" else name.name
                photo, mask = capture.photo(frame, camera), capture.mask(frame, camera)
                assert photo[30, 20].numpy() == pytest.approx(shoot.photo(sequence, number, camera)[30, 20], abs=8)
                assert mask[30, 20] > 240 and mask[2, 2] < 15
    views = capture.views(1, [1, 0])
    assert views.frame == 1 and views.images.shape == (2, HEIGHT, WIDTH, 3) and views.alphas.shape == (2, HEIGHT, WIDTH)
    assert views.names[0].endswith(SERIALS[1])
    assert torch.equal(views.cameras.Ks[0], capture.cameras.Ks[1])


def test_nersemble_2_codes_and_split(tmp_path):
    shoot = Shoot()
    capture = read(folders.nersemble_2(tmp_path, shoot))
    assert capture.prior == "anny" and len(capture) == 2 * FRAMES
    assert capture.held_out_sequences == ("FREE",) and capture.held_out_cameras == ("222200037",)
    assert capture.train_frames == tuple(range(FRAMES)) and capture.test_frames == tuple(range(FRAMES, 2 * FRAMES))
    assert capture.train_cameras == (0,) and capture.test_cameras == (1,)
    assert capture.frames_of("FREE") == range(FRAMES, 2 * FRAMES)
    assert capture.tracks.codes[FRAMES:].numpy() == pytest.approx(shoot.codes("FREE"))
    poses = folders.head_poses(FRAMES)
    head = np.array([0.1, 0.2, 0.3])
    world = in_world(capture, 2, head)
    assert world == pytest.approx(poses[2, :3, :3] @ head + poses[2, :3, 3], abs=1e-6)
    assert capture.ident.numpy() == pytest.approx(np.ones(5))


def test_the_root_of_a_data_set_and_one_K_for_all(tmp_path):
    shoot = Shoot()
    folders.nersemble_2(tmp_path / "data", shoot, one_for_all=True)
    capture = read(tmp_path / "data")
    assert capture.cameras.Ks[1].numpy() == pytest.approx(shoot.Ks[0])
    assert read(tmp_path / "data", participant="017").folder.name == "017"
    with pytest.raises(InputError, match=r"no participant '20'.*017"):
        read(tmp_path / "data", participant="20")


def test_nersemble_1(tmp_path):
    shoot = Shoot()
    capture = read(folders.nersemble_1(tmp_path, shoot))
    assert capture.photo(2, 1)[30, 20].numpy() == pytest.approx(shoot.photo("EMO-1", 2, 1)[30, 20], abs=8)
    assert len(capture) == 2 * FRAMES and "colour correction" in capture.notes[0]


def test_some_of_it(tmp_path):
    path = folders.nersemble_2(tmp_path, Shoot())
    capture = read(path, sequences=("FREE",), cameras=SERIALS[1:], every=2, held_out_cameras=(), held_out_sequences=())
    assert capture.frame_names == ("FREE/00000", "FREE/00002") and capture.camera_names == SERIALS[1:]
    assert capture.train_cameras == (0,) and capture.test_frames == ()
    with pytest.raises(InputError, match="no sequence 'HAIR': it has EMO-1, FREE"):
        read(path, sequences=("HAIR",))
    with pytest.raises(InputError, match="nothing is left to train on"):
        read(path, sequences=("FREE",), held_out_sequences=("FREE",))


def test_flame_tracking_of_the_benchmark(tmp_path):
    """Applied outside of FLAME: x_W = scale R(XYZ) x + t; frame 0 has no codes."""
    path = folders.benchmark(tmp_path, Shoot())
    capture = read(path)
    assert capture.prior == "flame2023" and capture.frames_of("EMO-1") == range(FRAMES - 1)
    assert capture.frame_names[0] == "EMO-1/00001"
    tracking = np.load(path / "sequences" / "EMO-1" / "tracking" / "flame2023_tracking_v2.npz")
    x, y, z = tracking["rotation"][1]
    R = Rotation.from_rotvec([x, 0, 0]) * Rotation.from_rotvec([0, y, 0]) * Rotation.from_rotvec([0, 0, z])
    head = np.array([0.1, 0.2, 0.3])
    world = in_world(capture, 1, head)
    assert world == pytest.approx(1.5 * R.apply(head) + tracking["translation"][1], abs=1e-5)
    code = capture.tracks.codes[1].numpy()
    parts = [tracking[key][1] for key in ("expression", "jaw", "eyes", "neck")]
    assert code == pytest.approx(np.concatenate(parts), abs=1e-6)


def test_what_of_vhap_is_not_applied_is_said(tmp_path):
    capture = read(folders.gaussian_avatars(tmp_path, Shoot()))
    assert any("static_offset" in note and "not applied" in note for note in capture.notes)


def test_flame_pose_of_gaussian_avatars_turns_about_the_root_joint(tmp_path):
    """As if FLAME itself had been turned: about joint 0 of the person with this expression, in metres."""
    path = folders.gaussian_avatars(tmp_path, Shoot())
    capture, rig, given = read(path), flame_rig(), folders.flame_param(2)
    shaped = rig.template + torch.einsum("i,ivx->vx", torch.full((300,), 0.1), rig.shapes)
    shaped = shaped + torch.einsum("i,ivx->vx", torch.from_numpy(given["expr"][0]).float(), rig.expressions)
    joint = (rig.joint_regressor @ shaped)[0].double().numpy()
    head = np.array([0.1, 0.2, 0.3])
    inside = Rotation.from_rotvec(given["rotation"][0]).apply(head - joint) + joint + given["translation"][0]
    assert in_world(capture, 2, head) == pytest.approx(inside, abs=1e-5)
    assert capture.held_out_sequences == ("FREE",) and capture.held_out_cameras == (SERIALS[1],)
    with pytest.raises(InputError, match=r"root joint: expected the prior flame2023, got no prior"):
        read_capture(path)


def test_codes_of_another_prior(tmp_path):
    """FLAME 2020 against 2023, and sizes."""
    capture = read(folders.benchmark(tmp_path, Shoot()))
    check_codes(capture, Flame())
    with pytest.raises(InputError, match=r"388: .*codes are those of flame2023, while the prior is flame2020"):
        check_codes(capture, Flame(name="flame2020"))
    with pytest.raises(InputError, match="expected codes of 100 numbers for flame2023, got 112"):
        check_codes(capture, Flame(size=100))


def test_pixels_are_kept_within_a_budget(tmp_path):
    path = folders.nersemble_2(tmp_path, Shoot())
    roomy, tight = read(path), read(path, budget=WIDTH * HEIGHT * 3)
    assert roomy.photo(0, 0) is roomy.photo(0, 0)
    first = tight.photo(0, 0)
    assert tight.photo(0, 0) is first
    tight.photo(1, 0)
    assert tight.photo(0, 0) is not first and torch.equal(tight.photo(0, 0), first)
