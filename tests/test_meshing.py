"""Meshes of splats that lie on known surfaces: F-score against the truth, colours, frames, refusals."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from gs_reg.apps import cli
from gs_reg.apps.look.mesh import cameras_around
from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.errors import InputError
from gs_reg.geometry import unproject
from gs_reg.io import save_splats
from gs_reg.meshing import MeshConfig, fuse
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats

open3d = pytest.importorskip("open3d", reason="meshes need open3d: pip install 'gs-reg[mesh]'")
trimesh = pytest.importorskip("trimesh")


def points_of(view) -> torch.Tensor:
    return unproject(view.cameras, view.depths)[0].reshape(-1, 3)


def on_surfaces(views) -> Splats:
    """One opaque round splat a pixel, of its photo's colour."""
    means = torch.cat([points_of(view) for view in views])
    sizes = torch.cat([view.depths.reshape(-1) / view.cameras.Ks[0, 0, 0] for view in views]) * 0.5
    colors = torch.cat([view.images.reshape(-1, 3) for view in views])
    n = len(means)
    quats, logits = torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.full((n,), 4.0)
    return Splats(means, quats, sizes.log()[:, None].repeat(1, 3), logits, rgb_to_sh(colors)[:, None])


@pytest.fixture(scope="module")
def room():
    return box_and_sphere(Rig(width=120, height=90, cameras=5, held_out=2, samples=1))


@pytest.fixture(scope="module")
def mesh(room):
    return fuse(on_surfaces(room.train), [view.cameras for view in room.train])


def test_f_score_of_a_room(room, mesh):
    truth = torch.cat([points_of(view) for view in room.views]).numpy()
    size = np.linalg.norm(truth.max(0) - truth.min(0))
    points = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False).sample(20_000, seed=0)
    precision = (cKDTree(truth).query(points)[0] < 0.01 * size).mean()
    recall = (cKDTree(points).query(truth[::3])[0] < 0.01 * size).mean()
    print(f"precision {precision:.3f}, recall {recall:.3f}")
    assert 2 * precision * recall / (precision + recall) > 0.95


def test_colours_and_sides_are_right(room, mesh):
    """Seen from a camera, vertices have the colour of the photo, and triangles turn their front to it."""
    view = room.train[2]
    camera = view.cameras
    center = camera.centers[0].double()
    tree = cKDTree(points_of(view).numpy())
    near, pixel = tree.query(mesh.vertices.numpy())
    close = near < 0.02
    error = (mesh.colors[close].float() / 255 - view.images.reshape(-1, 3)[pixel[close]]).abs().mean()
    assert error < 0.06
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    front = (torch.linalg.cross(b - a, c - a) * (center - a)).sum(1) > 0
    assert front.double().mean() > 0.9


def test_depth_limit_and_voxel(room, mesh):
    views = [view.cameras for view in room.train]
    near = fuse(on_surfaces(room.train), views, MeshConfig(depth_limit=3.6, voxel=0.1))
    z = (near.vertices - views[2].centers[0].double()).norm(dim=1)
    assert z.max() < 5 and near.voxel == 0.1 and len(near.faces) < len(mesh.faces) / 4
    with pytest.raises(InputError, match=r"--mesh\.voxel: expected at least"):
        fuse(on_surfaces(room.train), views, MeshConfig(voxel=1e-5))
    with pytest.raises(InputError, match="see nothing so near"):
        fuse(on_surfaces(room.train), views, MeshConfig(depth_limit=0.01))
    clear = replace(on_surfaces(room.train), opacity_logits=torch.full((5 * 120 * 90,), -9.0))
    with pytest.raises(InputError, match="see no surface"):
        fuse(clear, views)


def ball(n=12000) -> Splats:
    """Evenly on a sphere, so that it has no gaps."""
    i = torch.arange(n) + 0.5
    height, turn = 1 - 2 * i / n, np.pi * (1 + 5**0.5) * i.double()
    flat = (1 - height.square()).sqrt()
    direction = torch.stack([flat * turn.cos(), height, flat * turn.sin()], 1).float()
    means = direction + torch.tensor([2.0, -1, 5])
    quats, logits = torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.full((n,), 4.0)
    return Splats(means, quats, torch.full((n, 3), -4.0), logits, rgb_to_sh(direction / 2 + 0.5)[:, None])


def test_mesh_of_a_file(tmp_path, capsys, monkeypatch):
    """Cameras all around a ball; a .ply in its own coordinates, a .glb below a node in glTF's axes."""
    monkeypatch.setattr("gs_reg.apps.look.mesh.ORBIT_SIDE", 160)
    save_splats(tmp_path / "ball.ply", ball())
    assert len(cameras_around(ball())) == 48
    for name in ("mesh.ply", "mesh.glb"):
        words = ["export", str(tmp_path / "ball.ply"), "--format", "mesh", "--to", str(tmp_path / name)]
        assert cli.main([*words, "--mesh.voxel", "0.05"]) == 0
        assert "voxels of 0.05 units, from 48 cameras" in capsys.readouterr().err
    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    radius = np.linalg.norm(mesh.vertices - [2, -1, 5], axis=1)
    assert abs(np.median(radius) - 1) < 0.03 and radius.min() > 0.9 and radius.max() < 1.1
    assert abs(mesh.volume - 4 / 3 * np.pi) < 0.4  # closed, its sides outwards
    expected = (mesh.vertices - [2, -1, 5]) / 2 + 0.5
    assert np.abs(mesh.visual.vertex_colors[:, :3] / 255 - expected).mean() < 0.05
    raw = (tmp_path / "mesh.glb").read_bytes()
    document = json.loads(raw[20 : 20 + struct.unpack("<I", raw[12:16])[0]])
    matrix = next(node["matrix"] for node in document["nodes"] if "matrix" in node)
    assert np.allclose(np.reshape(matrix, (4, 4)), np.diag([-1, -1, 1, 1]))
    scene = trimesh.load(tmp_path / "mesh.glb", process=False)
    (inner,) = scene.geometry.values()
    assert np.allclose(inner.vertices, mesh.vertices, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--format", "mesh"], "--to is missing: the .ply or .glb of the mesh"),
        (["--format", "mesh", "--to", "a.obj"], "a.obj: expected the name of a mesh, ending with .ply or .glb"),
        (["--format", "mesh", "--to", "ball.ply"], "ball.ply: exists"),
        (["--to", "b.ply", "--mesh.voxel", "1"], "--mesh.*: no effect without --format mesh"),
        ([], "--to is missing: the file to write"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, words, text):
    monkeypatch.chdir(tmp_path)
    save_splats("ball.ply", ball(50))
    assert cli.main(["export", "ball.ply", *words]) == 2
    assert text in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["ball.ply"]
