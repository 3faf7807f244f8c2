"""Points in space that follow a mesh."""

from __future__ import annotations

import torch

from gs_reg.priors import Part
from gs_reg.priors.attach import CANDIDATES, attach, carry
from gs_reg.priors.mesh import vertex_normals


def _codes(prior, count: int):
    generator = torch.Generator().manual_seed(3)
    return (
        0.7
        * torch.rand(count, prior.dim, generator=generator)
        * (torch.rand(count, prior.dim, generator=generator) < 0.2)
    )


def test_the_surface_is_sampled_evenly_and_the_same_for_a_seed(anny):
    sample = anny.surface(None, 20000, 5)
    corners = anny.vertices(anny.neutral)[anny.mesh.faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    for part in Part:
        share = areas[anny.mesh.face_parts == part].sum() / areas.sum()
        assert abs((sample.parts == part).float().mean() - share) < 0.01
    assert torch.equal(anny.surface(None, 20000, 5).points, sample.points)
    again = (sample.barycentric[..., None] * corners[sample.triangles]).sum(1)
    assert torch.equal(again, sample.points) and torch.allclose(
        sample.normals.norm(dim=1), torch.ones(20000), atol=1e-5
    )
    skin = sample.parts == Part.SCALP
    outwards = sample.points[skin] - torch.tensor([0.0, 0.1, -0.25])
    assert ((sample.normals[skin] * outwards).sum(1) > 0).all()


def test_points_of_the_surface_go_where_their_triangle_goes_and_back(anny):
    sample, z = anny.surface(None, 600, 1), _codes(anny, 3)
    x, parts = sample.points.repeat(3, 1, 1), sample.parts.repeat(3, 1)
    posed = anny.forward(x, z, part=parts)
    true = (sample.barycentric[..., None] * anny.vertices(z)[:, anny.mesh.faces[sample.triangles]]).sum(-2)
    assert (posed - true).norm(dim=-1).max() * 250 < 0.02  # mm
    back, hyper = anny.backward(true, z, part=parts)
    error = (back - x).norm(dim=-1) * 250
    assert hyper is None and error.mean() < 0.01 and error.quantile(0.99) < 0.05


def test_points_off_the_surface_keep_their_height_and_come_back(anny):
    sample, z = anny.surface(None, 2000, 2), _codes(anny, 1)[0]
    skin = torch.isin(sample.parts, torch.tensor([Part.SKIN, Part.SCALP, Part.LIP_LOWER]))
    x, parts = (sample.points + 0.008 * sample.normals)[skin], sample.parts[skin]  # 2 mm
    posed = anny.forward(x, z, part=parts)
    back = anny.backward(posed, z, part=parts)[0]
    error = (back - x).norm(dim=-1) * 250
    assert error.mean() < 0.1 and error.quantile(0.95) < 0.4
    assert torch.allclose(anny.forward(x, anny.neutral, part=parts), x, atol=1e-5)


def test_lips_that_touch_go_apart(anny):
    lips = anny.mesh.vertex_parts == Part.LIP_UPPER
    x = anny.vertices(anny.neutral)[lips]
    z = anny.neutral.index_fill(0, torch.tensor(anny.channels.index("jawOpen")), 1.0)
    upper, lower = (anny.forward(x, z, part=torch.full((len(x),), int(p))) for p in (Part.LIP_UPPER, Part.LIP_LOWER))
    inner = x[:, 1] < x[:, 1].min() + 0.01
    assert ((upper - lower)[inner, 1] * 250).median() > 5  # mm


def test_attached_points_are_posed_alike(anny):
    sample, z = anny.surface(None, 300, 7), _codes(anny, 2)
    once = anny.posed(anny.attach(sample.points, part=sample.parts), z)
    assert torch.allclose(
        once, anny.forward(sample.points.repeat(2, 1, 1), z, part=sample.parts.repeat(2, 1)), atol=1e-6
    )


def test_backward_passes_gradients(anny):
    sample, z = anny.surface(None, 200, 8), _codes(anny, 1)[0]
    points = (sample.points + 0.01 * sample.normals).requires_grad_()
    anny.backward(points, z, part=sample.parts)[0].square().sum().backward()
    assert points.grad is not None and points.grad.isfinite().all() and points.grad.abs().mean() > 1e-3


def test_the_nearest_triangles_are_found_among_the_candidates(anny):
    """Against all triangles, for points near the face and far from it."""
    generator = torch.Generator().manual_seed(9)
    sample = anny.surface(None, 150, 9)
    x = sample.points + 0.03 * torch.randn(150, 3, generator=generator)
    vertices, faces = anny.vertices(anny.neutral), anny.mesh.faces
    found = attach(x, vertices, faces)
    gap = found.rest[:, 0].norm(dim=-1)
    corners = vertices[faces]
    weights = torch.tensor([[a, b, 6 - a - b] for a in range(7) for b in range(7 - a)]) / 6
    spots = (weights @ corners).reshape(-1, 3)
    best = torch.cdist(x, spots).amin(1)
    assert CANDIDATES >= 16 and (gap <= best + 0.001).float().mean() > 0.97


def test_a_rigid_motion_carries_all_space(anny):
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    turn = turn * torch.linalg.det(turn).sign()
    x = torch.randn(100, 3, generator=generator)
    vertices = anny.vertices(anny.neutral)
    held = attach(x, vertices, anny.mesh.faces)
    moved = carry(held, vertices @ turn.T + 0.3, anny.mesh.faces)
    assert (moved - (x @ turn.T + 0.3)).abs().max() < 1e-4


def test_parts_with_less_than_four_triangles_and_parts_that_are_not_there():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5.0]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    x = torch.tensor([[0.2, 0.2, 4.0], [0.2, 0.2, 4.0]])
    held = attach(x, vertices, faces, torch.tensor([Part.SKIN, Part.EAR]), torch.tensor([Part.SKIN, Part.LIP_LOWER]))
    assert (held.triangles[0] == 0).all() and held.triangles[1, 0] == 1
    moved = carry(held, vertices + torch.tensor([[0, 0, 1.0]] * 3 + [[0.0, 0, 0]] * 3), faces)
    assert torch.allclose(moved[0], x[0] + torch.tensor([0, 0, 1.0]), atol=1e-5)


def test_normals_of_vertices_point_out_and_are_0_without_triangles():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2]]))
    assert torch.equal(normals[:3], torch.tensor([[0.0, 0, 1]] * 3)) and (normals[3] == 0).all()
