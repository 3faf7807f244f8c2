"""The synthetic scenes are the other tests' ground truth: here they are checked against closed forms."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.synthetic import Rig, flow, inverse_depth
from gs_reg.data_tools.synthetic.mesh import Mesh, load_mesh, torus
from gs_reg.data_tools.synthetic.shapes import Box, Plane, Sphere
from gs_reg.data_tools.synthetic.texture import Texture
from gs_reg.errors import InputError
from gs_reg.geometry import pixel_centers, project, transform_points, unproject
from gs_reg.types import Views

ODD = Rig(width=70, height=50, aspect=1.1, principal=(0.43, 0.56), samples=2, held_out=1)
SCENES = {f.__name__: f for f in (synthetic.plane, synthetic.two_planes, synthetic.box_and_sphere, synthetic.room)}


@pytest.fixture(scope="module")
def scenes() -> dict[str, synthetic.SyntheticScene]:
    return {name: make(ODD) for name, make in SCENES.items()}


def sample(image: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    size = torch.tensor([image.shape[1], image.shape[0]])
    grid = (2 * xy / size - 1)[None]
    return F.grid_sample(image.permute(2, 0, 1)[None], grid, align_corners=False, padding_mode="border")[0].permute(
        1, 2, 0
    )


def test_plane_depth_is_the_closed_form(scenes):
    view = scenes["plane"].views[1]
    camera = view.cameras.to(dtype=torch.float64)
    normal, point = torch.tensor([0.35, -0.25, -1.0]).double(), torch.tensor([0.0, 0.0, 4.0]).double()
    n = camera.viewmats[0, :3, :3] @ normal
    offset = n @ transform_points(camera.viewmats[0], point)
    K = camera.Ks[0]
    y, x = torch.meshgrid(torch.arange(50) + 0.5, torch.arange(70) + 0.5, indexing="ij")
    ray = torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], -1).double()
    torch.testing.assert_close(view.depths[0].double(), offset / (ray @ n), rtol=2e-7, atol=0)


@pytest.mark.parametrize("name", SCENES)
def test_depth_unprojects_onto_the_surface_and_back(scenes, name):
    scene = scenes[name]
    for view, ids in zip(scene.views, scene.object_ids, strict=True):
        assert (ids >= 0).all() and (view.depths > 0).all()
        camera = view.cameras.to(dtype=torch.float64)
        points = unproject(camera, view.depths.double())
        xy, z = project(camera, points[0])
        assert (xy[0] - pixel_centers(camera.width, camera.height, xy)).abs().max() < 1e-4
        torch.testing.assert_close(z[0], view.depths[0].double(), rtol=1e-9, atol=0)


def test_points_lie_on_the_sphere(scenes):
    scene = scenes["box_and_sphere"]
    row = scene.object_names.index("sphere")
    for view, ids in zip(scene.views, scene.object_ids, strict=True):
        points = unproject(view.cameras, view.depths)[0][ids == row]
        assert len(points) > 100
        distance = torch.linalg.norm(points - torch.tensor([0.45, 0.7, 3.3]), dim=-1)
        torch.testing.assert_close(distance, torch.full_like(distance, 0.55), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SCENES)
def test_flow_brings_the_colours_of_visible_pixels_together(scenes, name):
    scene = scenes[name]
    moved, visible = flow(scene, 0, 1)
    a, b = scene.views[0].images[0], scene.views[1].images[0]
    inner = visible & ~edges(scene, 0) & ~edges_at(scene, 1, moved)
    assert inner.float().mean() > 0.4
    error = (sample(b, pixel_centers(70, 50, a) + moved) - a).abs().mean(-1)[inner]
    wrong = (sample(b, pixel_centers(70, 50, a) - moved) - a).abs().mean(-1)[inner]
    half = (sample(b, pixel_centers(70, 50, a) + moved + 0.5) - a).abs().mean(-1)[inner]
    assert error.mean() < 0.012 and error.quantile(0.99) < 0.08
    assert error.mean() < 0.5 * half.mean() and error.mean() < 0.2 * wrong.mean()


def edges(scene, i):
    ids = scene.object_ids[i].float()[None, None]
    return (F.max_pool2d(ids, 5, 1, 2) != -F.max_pool2d(-ids, 5, 1, 2))[0, 0]


def edges_at(scene, j, moved):
    xy = pixel_centers(70, 50, moved) + moved
    return sample(edges(scene, j).float()[..., None], xy)[..., 0] > 0


@pytest.mark.parametrize("name", ["two_planes", "box_and_sphere", "room"])
def test_occluded_pixels_are_behind_something_else(scenes, name):
    scene = scenes[name]
    _, visible = flow(scene, 1, 0)
    target = scene.views[0]
    points = unproject(scene.views[1].cameras, scene.views[1].depths)[0]
    xy, z = project(target.cameras, points)
    inside = (xy[0] > 1).all(-1) & (xy[0] < torch.tensor([69.0, 49.0])).all(-1)
    nearest = -F.max_pool2d(-target.depths, 3, 1, 1)[0]
    farthest = F.max_pool2d(target.depths, 3, 1, 1)[0]
    column, row = xy[0].floor().long().clamp_min(0).unbind(-1)
    row, column = row.clamp_max(49), column.clamp_max(69)
    hidden = inside & ~visible
    assert hidden.sum() > 20
    assert (nearest[row, column] < z[0])[hidden].all()
    seen = inside & visible
    assert (farthest[row, column] > z[0] * 0.97)[seen].all()


def test_two_planes_hide_what_the_formula_says(scenes):
    """A far pixel is hidden exactly when the line from the other eye crosses the near plane left of its edge."""
    scene = scenes["two_planes"]
    _, visible = flow(scene, 2, 0)
    view, eye = scene.views[2], scene.views[0].cameras.centers[0]
    points = unproject(view.cameras, view.depths)[0]
    at = (3.0 - eye[2]) / (points[..., 2] - eye[2])
    crossing = eye[0] + at * (points[..., 0] - eye[0])
    xy, _ = project(scene.views[0].cameras, points)
    inside = (xy[0] > 0).all(-1) & (xy[0] < torch.tensor([70.0, 50.0])).all(-1)
    far = scene.object_ids[2] == 0
    clear = crossing.abs() > 1e-4
    assert (far & inside & (crossing < 0)).sum() > 30
    assert torch.equal(visible[far & clear], (inside & (crossing > 0))[far & clear])
    assert torch.equal(visible[~far], inside[~far])


def test_flow_between_equal_cameras_is_zero_and_all_visible(scenes):
    for scene in scenes.values():
        moved, visible = flow(scene, 2, 2)
        assert moved.abs().max() < 1e-4 and visible.all()


def test_flow_there_and_back_returns(scenes):
    scene = scenes["plane"]
    there, visible = flow(scene, 0, 2)
    back, _ = flow(scene, 2, 0)
    returned = there + sample(back, pixel_centers(70, 50, there) + there)
    inner = visible & ((pixel_centers(70, 50, there) + there)[..., 0] < 69.4)
    assert returned[inner].abs().max() < 0.05 and there.abs().amax() > 4


def test_inverse_depth_and_types(scenes):
    scene = scenes["room"]
    torch.testing.assert_close(inverse_depth(scene, 0) * scene.views[0].depths[0], torch.ones(50, 70))
    assert scene.names == (*scene.train_names, *scene.test_names)
    assert [v.names[0] for v in scene.test] == list(scene.test_names) == ["test_00"]
    given = scene.training_scene()
    assert given.names == scene.train_names and all(v.depths is None for v in given.views)
    assert all(isinstance(v, Views) and v.images.min() >= 0 and v.images.max() <= 1 for v in scene.views)


def test_any_size_and_number_same_seed_same_photos():
    rig = Rig(width=31, height=17, cameras=9, held_out=3, samples=1, seed=4)
    first, again = synthetic.plane(rig), synthetic.plane(rig)
    other = synthetic.plane(Rig(width=31, height=17, cameras=9, held_out=3, samples=1, seed=5))
    assert len(first) == 12 and first.views[0].images.shape == (1, 17, 31, 3)
    for a, b, c in zip(first.views, again.views, other.views, strict=True):
        assert torch.equal(a.images, b.images) and not torch.equal(a.images, c.images)
    centers = torch.cat([v.cameras.centers for v in first.views])
    assert torch.pdist(centers).min() > 0.05
    torch.testing.assert_close(torch.diff(centers[:9, 0]), torch.full((8,), rig.baseline))


def test_one_camera_and_no_held_out():
    scene = synthetic.two_planes(Rig(width=16, height=12, cameras=1, held_out=0, samples=1))
    assert len(scene) == 1 and scene.test == ()
    with pytest.raises(InputError, match="at least 1"):
        Rig(cameras=0)


def test_shapes_from_inside_behind_and_beside():
    origin = torch.zeros(3, dtype=torch.float64)
    rays = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [3.0, 0.0, 1.0]], dtype=torch.float64)
    t, n = Box((0.0, 0.0, 0.0), (3.0, 3.0, 2.0)).cast(origin, rays)
    assert t.tolist() == [2.0, 2.0, 1.0]
    assert n.tolist() == [[0, 0, -1], [0, 0, 1], [-1, 0, 0]]
    t, n = Sphere((0.0, 0.0, 5.0), 1.0).cast(origin, rays)
    assert t[0] == 4 and not (t[1:] < 1e9).any() and n[0].tolist() == [0, 0, -1]
    t, _ = Plane((0.0, 0.0, 2.0), (0.0, 0.0, 1.0), extent=(1.0, 1.0)).cast(origin, rays)
    assert t.tolist() == [2.0, float("inf"), float("inf")]


def test_mesh_caster_agrees_with_an_exact_box_and_with_open3d():
    import trimesh

    cube = trimesh.creation.box((1.2, 0.8, 1.0))
    mesh = Mesh(torch.tensor(cube.vertices), torch.tensor(cube.faces))
    directions = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.25
    directions[:, 2] = 1
    origin = torch.tensor([0.0, 0.0, -3.0], dtype=torch.float64)
    t, _ = mesh.cast(origin, directions)
    expected, _ = Box((0.0, 0.0, 0.0), (0.6, 0.4, 0.5)).cast(origin, directions)
    torch.testing.assert_close(t, expected)
    assert 50 < t.isfinite().sum() < 450
    ring = torus().placed((0.0, 0.0, 0.0), 2.0)
    pytest.importorskip("open3d", exc_type=ImportError)
    assert torch.equal(ring._nearest_face_open3d(origin, directions), ring._nearest_face(origin, directions))


def test_meshes_are_loaded_and_refused(tmp_path):
    import trimesh

    trimesh.creation.icosphere(1).export(tmp_path / "ball.ply")
    scene = synthetic.room(Rig(width=24, height=18, cameras=1, held_out=0, samples=1), mesh=tmp_path / "ball.ply")
    assert (scene.object_ids[0] == scene.object_names.index("ring")).any()
    trimesh.PointCloud([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).export(tmp_path / "points.ply")
    with pytest.raises(InputError, match=r"points\.ply: expected a triangle mesh"):
        load_mesh(tmp_path / "points.ply")
    with pytest.raises(InputError, match="no such mesh"):
        load_mesh(tmp_path / "absent.ply")


def test_texture_is_smooth_and_of_the_base_colour():
    texture = Texture((0.6, 0.5, 0.3))
    points = torch.rand(4000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 20 - 10
    colour = texture(points)
    assert (colour.mean(0) - torch.tensor([0.6, 0.5, 0.3])).abs().max() < 0.06 and colour.std(0).min() > 0.1
    assert (texture(points + 1e-4) - colour).abs().max() < 0.01


def test_written_scene_reads_back(scenes, tmp_path):
    scene = scenes["two_planes"]
    path = synthetic.write_transforms_json(scene, tmp_path / "q")
    content = json.loads(path.read_text())
    assert len(content["frames"]) == len(scene) and content["test_filenames"] == ["images/test_00.png"]
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    for frame, view in zip(content["frames"], scene.views, strict=True):
        viewmat = np.linalg.inv(np.array(frame["transform_matrix"]) @ flip)
        np.testing.assert_allclose(viewmat, view.cameras.viewmats[0], atol=1e-6)
        pixels = np.asarray(Image.open(path.parent / frame["file_path"]))
        assert np.abs(pixels / 255 - view.images[0].numpy()).max() <= 0.5 / 255 + 1e-6
        depth = np.load(path.parent / "depths" / f"{view.names[0]}.npy")
        assert depth.dtype == np.float32 and np.array_equal(depth, view.depths[0])
    K = scene.views[0].cameras.Ks[0]
    assert [content[k] for k in ("fl_x", "fl_y", "cx", "cy")] == [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]
