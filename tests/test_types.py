"""The nouns: rows, moves and resizes keep everything that belongs together."""

import dataclasses
import math

import pytest
import torch

from gs_reg.geometry import project, transform_points
from gs_reg.rotations import quat_to_rotmat, rotmat_to_quat
from gs_reg.types import Cameras, Render, Scene, Splats, Views


def splats(n: int = 5) -> Splats:
    g = torch.Generator().manual_seed(0)
    rand = [torch.randn(*shape, generator=g) for shape in ((n, 3), (n, 4), (n, 3), (n,), (n, 4, 3))]
    return Splats(*rand, extra={"label": torch.arange(n), "latent": torch.randn(n, 2, generator=g)})


def cameras(n: int = 3) -> Cameras:
    K = torch.tensor([[50.0, 0, 33], [0, 60, 21], [0, 0, 1]])
    viewmats = torch.eye(4).repeat(n, 1, 1)
    viewmats[:, 0, 3] = torch.arange(n)
    return Cameras(viewmats, K.repeat(n, 1, 1), 64, 40)


def views(n: int = 3) -> Views:
    names = tuple(f"{i}.png" for i in range(n))
    images = torch.arange(n)[:, None, None, None].expand(n, 40, 64, 3) / 10
    return Views(cameras(n), images, names, masks=torch.ones(n, 40, 64, dtype=torch.bool), depths=images[..., 0] + 1)


@pytest.mark.parametrize(
    "index",
    [torch.tensor([4, 0, 0]), torch.tensor([True, False, False, True, True]), slice(1, 4)],
    ids=["rows", "mask", "slice"],
)
def test_rows_take_every_tensor_and_extra_along(index):
    before = splats()
    after = before.rows(index)
    assert len(after) == 3
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        assert torch.equal(getattr(after, name), getattr(before, name)[index])
    assert set(after.extra) == {"label", "latent"}
    assert torch.equal(after.extra["label"], torch.arange(5)[index])
    assert torch.equal(after.extra["latent"], before.extra["latent"][index])


def test_no_rows_is_a_value_too():
    empty = splats().rows(torch.zeros(5, dtype=torch.bool))
    assert len(empty) == 0 and empty.extra["latent"].shape == (0, 2) and empty.sh_degree == 1


def test_activations_and_degree():
    s = splats()
    torch.testing.assert_close(s.scales.log(), s.log_scales)
    torch.testing.assert_close(s.opacities, 1 / (1 + (-s.opacity_logits).exp()))
    assert [
        Splats(s.means, s.quats, s.log_scales, s.opacity_logits, torch.zeros(5, k, 3)).sh_degree for k in (1, 4, 9, 16)
    ] == [0, 1, 2, 3]


def test_detach_cuts_extras_as_well():
    s = splats()
    grown = Splats(s.means.requires_grad_(), s.quats, s.log_scales, s.opacity_logits, s.sh, {"a": s.means * 2})
    cut = grown.detach()
    assert not cut.means.requires_grad and not cut.extra["a"].requires_grad


def test_to_moves_nested_records_and_leaves_integers_alone():
    v = views().to(dtype=torch.float64)
    assert v.images.dtype == v.depths.dtype == v.cameras.viewmats.dtype == v.cameras.Ks.dtype == torch.float64
    assert v.masks.dtype == torch.bool and v.names == ("0.png", "1.png", "2.png") and v.cameras.width == 64
    s = splats().to(torch.device("meta"), torch.float64)
    assert s.means.device.type == s.extra["label"].device.type == "meta"
    assert s.extra["latent"].dtype == torch.float64 and s.extra["label"].dtype == torch.int64


def test_indexing_keeps_the_leading_axis():
    v = views()
    assert len(v[1]) == 1 and v[1].names == ("1.png",) and v[1].images[0, 0, 0, 0] == v.images[1, 0, 0, 0]
    assert v[1].cameras.viewmats[0, 0, 3] == 1 and v[1].depths.shape == v[1].masks.shape == (1, 40, 64)
    assert v[1:].names == ("1.png", "2.png") and len(v[1:].cameras) == 2
    assert len(cameras()[torch.tensor([2, 0])]) == 2
    assert v[-1].names == ("2.png",)
    assert [one.names for one in v] == [("0.png",), ("1.png",), ("2.png",)]
    with pytest.raises(IndexError):
        v[3]
    assert v.cameras[-1].viewmats.shape == (1, 4, 4) and v.cameras[-1].viewmats[0, 0, 3] == 2


def test_resized_scales_K_by_the_true_ratios():
    small = cameras().resized(33, 10)
    K = small.Ks[1]
    expected = torch.tensor([[50 * 33 / 64, 0, 33 * 33 / 64], [0, 60 / 4, 21 / 4], [0, 0, 1]])
    torch.testing.assert_close(K, expected)
    assert (small.width, small.height) == (33, 10) and torch.equal(small.viewmats, cameras().viewmats)
    torch.testing.assert_close(small.resized(64, 40).Ks, cameras().Ks)


def test_centers_are_where_the_cameras_stand():
    torch.testing.assert_close(cameras().centers, torch.tensor([[0.0, 0, 0], [-1.0, 0, 0], [-2.0, 0, 0]]))


def test_expected_depth_is_the_mean_and_zero_where_nothing_is_seen():
    alphas = torch.tensor([0.5, 0.0]).reshape(1, 1, 2, 1)
    radii = torch.tensor([[[3, 2], [0, 4], [0, 0]]], dtype=torch.int32)
    r = Render(torch.zeros(1, 1, 2, 3), alphas, alphas * 6, None, torch.zeros(1, 3, 2), radii)
    assert r.expected_depths.flatten().tolist() == [6.0, 0.0]
    assert r.visible.tolist() == [[True, False, False]]


def test_scene_names_follow_its_views():
    scene = Scene((views(1), views(2)), None, torch.eye(4, dtype=torch.float64))
    assert len(scene) == 2 and scene.names == ("0.png", "0.png", "1.png")


def test_shapes_are_checked_in_tests():
    s = splats()
    with pytest.raises(Exception, match="quats"):
        Splats(s.means, s.quats[:4], s.log_scales, s.opacity_logits, s.sh)


def test_joined_rows_keep_extras_warps_and_colours():
    a, b = splats(2), splats(3)
    more = [
        dataclasses.replace(s, warps=torch.eye(3).expand(len(s), 3, 3), colors=torch.rand(2, len(s), 3)) for s in (a, b)
    ]
    both = Splats.joined(more)
    assert len(both) == 5 and both.colors.shape == (2, 5, 3) and both.warps.shape == (5, 3, 3)
    assert torch.equal(both.extra["latent"][2:], b.extra["latent"])
    back = both.rows(slice(2, 5))
    for name in ("means", "warps", "colors"):
        assert torch.equal(getattr(back, name), getattr(more[1], name))
    with pytest.raises(ValueError, match=r"warps: some parts have it"):
        Splats.joined([a, more[1]])
    with pytest.raises(ValueError, match="extra"):
        Splats.joined([a, dataclasses.replace(b, extra={})])


def test_a_crop_shows_the_same_pixels():
    points = torch.tensor([[0.1, -0.2, 3.0], [-1.0, 0.4, 2.0]])
    whole, window = cameras(), cameras().cropped(10, -4, 20, 30)
    assert (window.width, window.height) == (20, 30)
    uv, depth = project(whole, points)
    got, same = project(window, points)
    torch.testing.assert_close(got, uv - torch.tensor([10.0, -4.0]))
    assert torch.equal(depth, same)


def test_a_moved_camera_sees_what_a_moved_model_shows():
    pose = torch.eye(4)
    pose[:3, :3] = quat_to_rotmat(torch.tensor([0.9, 0.1, -0.3, 0.2]))
    pose[:3, 3] = torch.tensor([0.3, -0.1, 2.0])
    points = torch.tensor([[0.1, -0.2, 3.0], [-1.0, 0.4, 2.0]])
    for poses in (pose, pose.repeat(3, 1, 1)):
        uv, depth = project(cameras().moved(poses), points)
        want, z = project(cameras(), transform_points(pose, points))
        torch.testing.assert_close(uv, want, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(depth, z)


def test_gradients_reach_the_pose_of_a_moved_camera():
    pose = torch.eye(4, dtype=torch.float64).requires_grad_()
    camera, points = cameras().to(dtype=torch.float64), torch.tensor([[0.1, -0.2, 3.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: project(camera.moved(p), points), pose)


def test_looking_at_a_point_puts_it_in_the_middle_with_up_upwards():
    eye, target = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.0, 0.5, 1.0])
    camera = Cameras.look_at(eye, target, torch.tensor([0.0, 1.0, 0.0]), math.radians(60), 64, 40)
    torch.testing.assert_close(camera.centers[0], eye)
    uv, depth = project(camera, torch.stack([target, target + torch.tensor([0.0, 0.1, 0.0])]))
    torch.testing.assert_close(uv[0, 0], torch.tensor([32.0, 20.0]), rtol=0, atol=1e-4)
    assert uv[0, 1, 1] < 20 and abs(float(uv[0, 1, 0]) - 32) < 1e-4
    assert float(depth[0, 0]) == pytest.approx(float((target - eye).norm()))
    assert float(torch.det(camera.viewmats[0, :3, :3])) == pytest.approx(1)
    assert 2 * math.atan(20 / float(camera.Ks[0, 1, 1])) == pytest.approx(math.radians(60))
    with pytest.raises(ValueError, match="look_at"):
        Cameras.look_at(eye, target, target - eye, 1.0, 64, 40)


def test_cameras_of_viewers_are_the_same_cameras():
    eye, target, up = torch.tensor([1.0, 2.0, -3.0]), torch.zeros(3), torch.tensor([0.0, -1.0, 0.0])
    camera = Cameras.look_at(eye, target, up, 0.8, 64, 40)
    pose = camera.world_from_camera
    again = Cameras.from_pose(rotmat_to_quat(pose[0, :3, :3]), pose[0, :3, 3], 0.8, 64, 40)
    torch.testing.assert_close(again.viewmats, camera.viewmats, rtol=0, atol=1e-6)
    torch.testing.assert_close(again.Ks, camera.Ks)
    opengl = pose.clone()
    opengl[:, :3, 1:3] *= -1  # +y up, -z forward
    torch.testing.assert_close(Cameras.from_opengl(opengl, camera.Ks, 64, 40).viewmats, camera.viewmats)


def test_views_of_a_moment_stack():
    parts = [dataclasses.replace(v, frame=7) for v in (views(1), views(2))]
    both = Views.stack(parts)
    assert len(both) == 3 and both.frame == 7 and both.names == ("0.png", "0.png", "1.png") and both.alphas is None
    assert torch.equal(both.depths, torch.cat([part.depths for part in parts])) and both[2:].frame == 7
    with pytest.raises(ValueError, match="one frame"):
        Views.stack([parts[0], views(1)])
    with pytest.raises(ValueError, match="one image size"):
        Views.stack([views(1), dataclasses.replace(views(1), cameras=cameras(1).resized(32, 20))])
    with pytest.raises(ValueError, match="masks"):
        Views.stack([views(1), dataclasses.replace(views(1), masks=None)])


def test_views_need_no_images():
    bare = Views(cameras(2), alphas=torch.ones(2, 40, 64))
    assert len(bare) == 2 and bare[1].alphas.shape == (1, 40, 64) and bare.to(dtype=torch.float64).images is None
    with pytest.raises(ValueError, match="expected images"):
        _ = bare.photos


@pytest.mark.parametrize("fov_y", [60.0, 0.0, -1.0, math.nan])
def test_a_field_of_view_that_is_none_is_refused(fov_y):
    with pytest.raises(ValueError, match="fov_y: expected radians between 0 and pi"):
        Cameras.from_pose(torch.tensor([1.0, 0, 0, 0]), torch.zeros(3), fov_y, 64, 40)


def test_views_with_and_without_names_do_not_stack():
    with pytest.raises(ValueError, match="names: some parts"):
        Views.stack([views(1), dataclasses.replace(views(1), names=())])


def test_what_cannot_be_joined_is_named():
    def with_degree(n, degree, dtype=torch.float32):
        s = splats(n)
        return dataclasses.replace(s, sh=torch.zeros(n, (degree + 1) ** 2, 3, dtype=dtype), extra={})

    with pytest.raises(ValueError, match=r"^sh: expected parts.*\[2, 1, 3\] .*; \[3, 4, 3\] "):
        Splats.joined([with_degree(2, 0), with_degree(3, 1)])
    with pytest.raises(ValueError, match=r"^sh: .*torch.float32.*torch.float64"):
        Splats.joined([with_degree(2, 0), with_degree(3, 0, torch.float64)])
    with pytest.raises(ValueError, match="at least one part"):
        Splats.joined([])
    assert len(Splats.joined([with_degree(0, 1), with_degree(3, 1)])) == 3


def test_cameras_at_a_number_in_a_tensor():
    four = Cameras(torch.eye(4).repeat(4, 1, 1) * torch.arange(1, 5)[:, None, None], torch.eye(3).repeat(4, 1, 1), 8, 6)
    assert torch.equal(four[torch.tensor(2)].viewmats, four[2].viewmats) and len(four[torch.tensor(-1)]) == 1
    assert torch.equal(four[torch.tensor([3, 0])].viewmats, four.viewmats[[3, 0]])
    with pytest.raises(IndexError):
        _ = four[torch.tensor(4)]


def test_moved_takes_one_pose_or_one_for_each_camera():
    four = Cameras(torch.eye(4).repeat(4, 1, 1), torch.eye(3).repeat(4, 1, 1), 8, 6)
    for shape in ([4, 4], [1, 4, 4], [4, 4, 4]):
        assert len(four.moved(torch.eye(4).expand(shape))) == 4
    many = four[0].moved(torch.eye(4).expand(3, 4, 4))  # one camera, as many times as there are poses
    assert len(many) == 3 and many.Ks.shape == (3, 3, 3)
    for shape in ([3, 4, 4], [2, 4, 4, 4], [0, 4, 4]):
        with pytest.raises(ValueError, match="moved: expected one pose"):
            four.moved(torch.eye(4).expand(shape))
