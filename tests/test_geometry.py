"""Pixels to points and back, rotations and similarities."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_reg.geometry import (
    camera_rays,
    pixel_centers,
    project,
    similarity_scale,
    transform_cameras,
    transform_points,
    unproject,
)
from gs_reg.rotations import quat_multiply, quat_to_rotmat, rotmat_to_quat
from gs_reg.types import Cameras

components = st.floats(-1, 1, allow_nan=False, width=32)
quats = st.tuples(components, components, components, components).filter(lambda q: sum(c * c for c in q) > 1e-3)


def as_tensor(q) -> torch.Tensor:
    return torch.tensor(q, dtype=torch.float64)


def odd_cameras(dtype=torch.float32) -> Cameras:
    """Off-centre principal point, fx != fy, turned and moved."""
    rotation = quat_to_rotmat(torch.tensor([[0.9, 0.1, -0.3, 0.2], [0.7, -0.5, 0.4, 0.1]]).to(dtype))
    viewmats = torch.eye(4, dtype=dtype).repeat(2, 1, 1)
    viewmats[:, :3, :3] = rotation
    viewmats[:, :3, 3] = torch.tensor([[0.3, -2.0, 1.0], [-0.7, 0.4, 5.0]]).to(dtype)
    K = torch.tensor([[70.0, 0, 17.3], [0, 91.0, 40.9], [0, 0, 1]]).to(dtype)
    return Cameras(viewmats, K.repeat(2, 1, 1), 48, 36)


def a_similarity(scale: float = 2.5) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = scale * quat_to_rotmat(as_tensor([0.3, 0.5, -0.7, 0.2]))
    matrix[:3, 3] = as_tensor([4.0, -1.0, 0.5])
    return matrix


def test_pixel_centers_are_at_a_half():
    xy = pixel_centers(3, 2, torch.zeros(()))
    assert xy.shape == (2, 3, 2) and xy[0, 0].tolist() == [0.5, 0.5] and xy[1, 2].tolist() == [2.5, 1.5]


def test_a_ray_is_the_pinhole_formula():
    ray = camera_rays(odd_cameras())[1, 20, 7]
    torch.testing.assert_close(ray, torch.tensor([(7.5 - 17.3) / 70, (20.5 - 40.9) / 91, 1.0]))


def test_unproject_then_project_returns_to_the_pixel():
    cameras = odd_cameras()
    depths = torch.rand(2, 36, 48, generator=torch.Generator().manual_seed(0)) * 9 + 0.5
    points = unproject(cameras, depths)
    for i in range(2):
        xy, z = project(cameras[i], points[i])
        assert (xy[0] - pixel_centers(48, 36, xy)).abs().max() < 1e-4
        torch.testing.assert_close(z[0], depths[i], rtol=1e-5, atol=1e-5)


def test_project_gives_every_camera_every_point():
    cameras = odd_cameras()
    points = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    xy, z = project(cameras, points)
    assert xy.shape == (2, 4, 5, 2) and z.shape == (2, 4, 5)
    p = cameras.viewmats[1, :3, :3] @ points[2, 3] + cameras.viewmats[1, :3, 3]
    torch.testing.assert_close(z[1, 2, 3], p[2])
    torch.testing.assert_close(xy[1, 2, 3], torch.stack([70 * p[0] / p[2] + 17.3, 91 * p[1] / p[2] + 40.9]))


@settings(max_examples=200, deadline=None)
@given(quats)
def test_quat_round_trip(q):
    rotation = quat_to_rotmat(as_tensor(q))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(rotation) > 0
    back = rotmat_to_quat(rotation)
    assert back[0] >= 0
    torch.testing.assert_close(torch.linalg.norm(back), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(quat_to_rotmat(back), rotation, rtol=0, atol=1e-7)


@pytest.mark.parametrize("q", [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0], [1e-9, 1, 0, 0]])
def test_quat_round_trip_at_half_turns(q):
    rotation = quat_to_rotmat(as_tensor([float(c) for c in q]))
    torch.testing.assert_close(quat_to_rotmat(rotmat_to_quat(rotation)), rotation)


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = quat_to_rotmat(torch.tensor([1.0, 0.0, 0.0, 1.0]))
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))


@settings(max_examples=100, deadline=None)
@given(quats, quats)
def test_quat_multiply_is_the_product_of_rotations(a, b):
    product = quat_to_rotmat(quat_multiply(as_tensor(a), as_tensor(b)))
    torch.testing.assert_close(product, quat_to_rotmat(as_tensor(a)) @ quat_to_rotmat(as_tensor(b)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_moving_cameras_and_points_together_keeps_the_pixels(scale):
    cameras, matrix = odd_cameras(torch.float64), a_similarity(scale)
    points = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    moved = transform_cameras(matrix, cameras)
    before, z = project(cameras, points)
    after, z_after = project(moved, transform_points(matrix, points))
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(z_after, z * scale)
    rotation = moved.viewmats[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert moved.Ks is cameras.Ks and similarity_scale(matrix) == pytest.approx(scale)


def test_a_shear_or_mirroring_is_no_similarity():
    sheared, mirrored = a_similarity(), a_similarity()
    sheared[0, 1] += 0.3
    mirrored[:3, 0] *= -1
    with pytest.raises(ValueError, match="shear"):
        transform_cameras(sheared, odd_cameras())
    with pytest.raises(ValueError, match="mirroring"):
        transform_cameras(mirrored, odd_cameras())
