"""Camera paths, videos, and depth as colours."""

import resource

import numpy as np
import pytest
import torch

from gs_reg.apps.look.colormap import NO_VALUE, colorize, depth_range
from gs_reg.apps.look.paths import camera_path, interpolate, is_inward_facing, orbit, spiral, with_one_size
from gs_reg.apps.look.pictures import save_depth
from gs_reg.apps.look.video import write_video
from gs_reg.errors import InputError
from gs_reg.types import Cameras

K = torch.tensor([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])


def looking(centers, targets, down=(0.0, 1.0, 0.0)) -> Cameras:
    centers, down = np.asarray(centers, float), np.asarray(down)
    z = np.asarray(targets, float) - centers
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    x = np.cross(down, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pose = np.tile(np.eye(4), (len(z), 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = np.stack([x, np.cross(z, x), z], -1), centers
    return Cameras(torch.linalg.inv(torch.from_numpy(pose)), K.double().repeat(len(z), 1, 1), 64, 48)


def ring(degrees, radius=3.0, height=-1.0) -> Cameras:
    a = np.radians(np.asarray(degrees, float))
    centers = np.stack([radius * np.sin(a) + 5, np.full_like(a, height), radius * np.cos(a)], 1)
    return looking(centers, [[5.0, 0, 0]] * len(a))


def forward_facing(n=5) -> Cameras:
    x = np.linspace(-1, 1, n)
    return looking(np.stack([x, 0.2 * x**2, 0 * x], 1), np.stack([0.9 * x, 0 * x, 0 * x + 4], 1))


def assert_rigid(cameras: Cameras):
    rotation = cameras.viewmats[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).to(rotation).expand_as(rotation))
    assert (torch.linalg.det(rotation) > 0.99).all()


def turns(cameras: Cameras) -> torch.Tensor:
    """Angle in degrees between neighbours."""
    r = cameras.viewmats[:, :3, :3]
    trace = (r[1:] * r[:-1]).sum((1, 2))
    return torch.rad2deg(torch.arccos(((trace - 1) / 2).clamp(-1, 1)))


def test_interpolation_passes_through_every_camera():
    cameras = ring([0, 25, 60, 70, 100])
    shuffled = cameras[torch.tensor([3, 0, 4, 2, 1])]
    path = interpolate(shuffled, 401)
    assert_rigid(path)
    distance = torch.cdist(cameras.centers, path.centers)
    assert (distance.amin(1) < 0.02).all()
    at = distance.argmin(1)
    assert (at.diff() > 0).all() or (at.diff() < 0).all()  # the order along the ring is found
    nearest = path[at].viewmats[:, :3, :3]
    assert (nearest - cameras.viewmats[:, :3, :3]).abs().max() < 0.02
    step = (path.centers[1:] - path.centers[:-1]).norm(dim=1)
    assert step.max() < 2.5 * step.mean() and turns(path).max() < 2.5 * turns(path).mean()


def test_two_cameras_and_one():
    path = interpolate(ring([0, 40]), 5)
    torch.testing.assert_close(turns(path), torch.full((4,), float(turns(path).mean()), dtype=torch.float64))
    torch.testing.assert_close(path.centers[2], ring([0, 40]).centers.mean(0))
    still = interpolate(ring([10]), 3)
    torch.testing.assert_close(still.viewmats, ring([10]).viewmats.expand(3, 4, 4))
    same = interpolate(ring([10, 10, 20]), 7)
    assert_rigid(same)


def test_spiral_looks_at_the_focus_and_closes():
    cameras = forward_facing()
    path = spiral(cameras, 60, focus_depth=4.0)
    assert_rigid(path)
    focus = torch.tensor([0.0, 0.08, 4.0], dtype=torch.float64)
    seen = path.viewmats[:, :3, :3] @ focus + path.viewmats[:, :3, 3]
    pixel = seen[:, :2] / seen[:, 2:] * 100 + torch.tensor([32.0, 24.0])
    assert (pixel - torch.tensor([32.0, 24.0])).abs().max() < 5
    assert path.centers[:, 0].abs().max() < 1.0
    jump = (path.centers - path.centers.roll(1, 0)).norm(dim=1)
    assert jump[0] < 1.5 * jump[1:].max()
    assert (path.viewmats[:, 1, 1] > 0.9).all()  # down stays down
    assert (path.width, path.height) == (64, 48) and torch.equal(path.Ks[7], cameras.Ks[0])


def test_full_orbit():
    cameras = ring(range(0, 360, 30))
    path = orbit(cameras, 36)
    offset = path.centers - torch.tensor([5.0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(offset[:, [0, 2]].norm(dim=1), torch.full((36,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(offset[:, 1], torch.full((36,), -1.0, dtype=torch.float64))
    torch.testing.assert_close(turns(path), turns(path).mean().expand(35))
    assert (offset.sum(0).abs() - torch.tensor([0, 36.0, 0]) < 1e-6).all()
    assert (path.viewmats[:, 1, 1] > 0.9).all()


def test_orbit_stays_where_photos_are():
    cameras = ring([-40, -10, 5, 30])
    path = orbit(cameras, 50)
    offset = path.centers - torch.tensor([5.0, 0, 0], dtype=torch.float64)
    angle = torch.rad2deg(torch.atan2(offset[:, 0], offset[:, 2]))
    assert angle.min() == pytest.approx(-40, abs=0.5) and angle.max() == pytest.approx(30, abs=0.5)
    assert_rigid(path)


def test_auto():
    assert is_inward_facing(ring([0, 90, 200]), 3.0) and not is_inward_facing(forward_facing(), 4.0)
    outward = looking(np.zeros((4, 3)) + 1e-3 * np.eye(4)[:, :3], np.eye(4)[:, :3] * 3 + [[0, 0, 1]])
    assert not is_inward_facing(outward, 3.0)
    a = camera_path("auto", ring([0, 90, 200]), 10, focus_depth=3.0)
    torch.testing.assert_close(a.centers, orbit(ring([0, 90, 200]), 10).centers)
    b = camera_path("auto", forward_facing(), 10, focus_depth=4.0)
    torch.testing.assert_close(b.centers, spiral(forward_facing(), 10, 4.0).centers)
    with pytest.raises(InputError, match="2 poses"):
        camera_path("spiral", forward_facing(), 1, focus_depth=4.0)


def test_sizes_are_made_equal():
    other = forward_facing().resized(128, 24)
    both = with_one_size([forward_facing(), other])
    assert len(both) == 10 and both.width == 64
    torch.testing.assert_close(both.Ks[0], both.Ks[9])


def test_video_has_its_frames(tmp_path):
    import imageio_ffmpeg

    def frames():
        for i in range(12):
            frame = np.full((33, 47, 3), 40, np.uint8)
            frame[:, : 4 * i + 1] = [230, 60, 20]
            yield frame

    assert write_video(tmp_path / "v" / "a.mp4", frames(), fps=12) == 12
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "v" / "a.mp4"))
    meta = next(reader)
    pictures = [np.frombuffer(raw, np.uint8).reshape(34, 48, 3) for raw in reader]
    assert meta["size"] == (48, 34) and meta["fps"] == 12 and len(pictures) == 12
    assert meta["pix_fmt"].startswith("yuv420p")
    assert np.abs(pictures[6][20, 5].astype(int) - [230, 60, 20]).max() < 20
    assert np.abs(pictures[6][20, 44].astype(int) - 40).max() < 20


def test_bad_frames_leave_no_file(tmp_path):
    with pytest.raises(InputError, match="at least one frame"):
        write_video(tmp_path / "a.mp4", [])
    sizes = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)]
    with pytest.raises(InputError, match=r"frame 1: expected uint8 \(8, 8, 3\)"):
        write_video(tmp_path / "a.mp4", sizes)
    assert list(tmp_path.iterdir()) == []


def noise(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize("missing", [1, 100, 20_000])
def test_a_video_that_cannot_be_written_to_its_end_leaves_the_old_one(tmp_path, missing):
    write_video(tmp_path / "a.mp4", noise(10))
    whole = (tmp_path / "a.mp4").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - missing, limit[1]))
    try:
        with pytest.raises(OSError, match="ffmpeg failed"):
            write_video(tmp_path / "a.mp4", noise(10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / "a.mp4").read_bytes() == whole and len(list(tmp_path.iterdir())) == 1


def test_depth_colours(tmp_path):
    depth = torch.tensor([[1.0, 2.0, 4.0, 0.0, float("nan"), float("inf"), 0.1, 99.0]])
    colors = colorize(depth, 1.0, 4.0)[0]
    assert colors[0, 0] > colors[0, 2] and colors[2, 2] > colors[2, 0]  # near is warm, far is cool
    assert torch.equal(colors[3:6], torch.tensor(NO_VALUE).expand(3, 3))
    assert torch.equal(colors[6], colors[0]) and torch.equal(colors[7], colors[2])
    assert depth_range(torch.linspace(1, 2, 1001)[None]) == pytest.approx((1.01, 1.99), abs=2e-3)
    assert depth_range(torch.zeros(2, 2)) == (1.0, 2.0)
    save_depth(tmp_path / "d" / "a", torch.zeros(4, 5))
    assert (tmp_path / "d" / "a.png").stat().st_size > 50
