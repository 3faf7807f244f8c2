"""Inverse depth from matches (T14) and its dense completion (T15)."""

import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth.fill import fill_inverse_depth
from gs_reg.data_tools.depth.triangulate import Triangulation, ray_in_other, triangulate
from gs_reg.data_tools.synthetic import Rig, flow
from gs_reg.data_tools.synthetic.scene import rig_cameras
from gs_reg.geometry import pixel_centers, project, unproject
from gs_reg.types import Cameras

RIG = Rig(width=96, height=72, cameras=4, held_out=0, samples=1, aspect=1.1, principal=(0.45, 0.56))


def cameras(count: int = 4) -> list[Cameras]:
    rig = rig_cameras(RIG, (0.0, 0.0, 4.0)).to(dtype=torch.float64)
    return [rig[i] for i in range(count)]


def exact_matches(first: Cameras, others: list[Cameras], pixels, w) -> tuple[torch.Tensor, ...]:
    """A, b, exact match and full confidence for points at inverse depth w on the rays of `pixels`; w may be 0."""
    rays, shifts, matches = [], [], []
    for other in others:
        a, b = ray_in_other(first, other, pixels)
        q = a + b * w[:, None]
        rays.append(a)
        shifts.append(b.expand_as(a))
        matches.append(q[:, :2] / q[:, 2:])
    stacked = [torch.stack(x, dim=1) for x in (rays, shifts, matches)]
    return (*stacked, torch.ones(len(pixels), len(others), dtype=torch.float64))


def spread(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 2, dtype=torch.float64, generator=generator) * torch.tensor([96.0, 72.0])
    return pixels, 1 / (2 + 6 * torch.rand(count, dtype=torch.float64, generator=generator))


def test_rays_in_another_view_are_projections():
    first, other = cameras(2)
    pixels, w = spread(50)
    a, b = ray_in_other(first, other, pixels)
    K = first.Ks[0]
    rays = torch.cat([(pixels - K[:2, 2]) / K.diagonal()[:2], torch.ones(50, 1)], dim=1)
    home = first.world_from_camera[0]
    xy, z = project(other, (rays / w[:, None]) @ home[:3, :3].T + home[:3, 3])
    q = a + b * w[:, None]
    torch.testing.assert_close(q[:, :2] / q[:, 2:], xy[0])
    torch.testing.assert_close(q[:, 2] / w, z[0])


@pytest.mark.parametrize("others", [1, 2, 3])
def test_exact_matches_give_exact_depth(others):
    first, *rest = cameras(others + 1)
    pixels, w = spread(400)
    result = triangulate(*exact_matches(first, rest, pixels, w))
    assert (w / result.inverse_depth - 1).abs().max() < 1e-5
    assert result.residual.max() < 1e-6 and result.front.all() and (result.sd > 0).all()


@pytest.mark.parametrize("others", [1, 2, 3])
def test_errors_are_as_large_as_predicted(others):
    """0.5 px of noise a coordinate: the error over the predicted sd is 1 within 20 %, also pixel group by group."""
    first, *rest = cameras(others + 1)
    pixels, w = spread(4000)
    rays, shifts, matches, confidence = exact_matches(first, rest, pixels, w)
    noise = 0.5 * torch.randn(matches.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    result = triangulate(rays, shifts, matches + noise, confidence, sd_px=0.5)
    score = (result.inverse_depth - w) / result.sd
    assert score.square().mean().sqrt() == pytest.approx(1, abs=0.2)
    for near in (w > w.median(), w <= w.median()):
        assert score[near].square().mean().sqrt() == pytest.approx(1, abs=0.2)
    twice = triangulate(rays, shifts, matches + noise, confidence, sd_px=1.0)
    torch.testing.assert_close(twice.sd, 2 * result.sd)


def test_points_at_infinity():
    first, *rest = cameras(3)
    pixels, w = spread(2000)
    rays, shifts, matches, confidence = exact_matches(first, rest, pixels, torch.zeros_like(w))
    noise = 0.5 * torch.randn(matches.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    result = triangulate(rays, shifts, matches + noise, confidence)
    for value in (result.inverse_depth, result.sd, result.residual):
        assert torch.isfinite(value).all()
    score = result.inverse_depth / result.sd
    assert score.abs().max() < 5 and (score.abs() < 3).double().mean() > 0.99
    assert (result.inverse_depth < 0).double().mean() == pytest.approx(0.5, abs=0.1)


def test_one_wrong_view_of_three_is_outvoted():
    first, *rest = cameras(4)
    pixels, w = spread(300)
    rays, shifts, matches, confidence = exact_matches(first, rest, pixels, w)
    matches[:, 1] += 30.0
    robust = triangulate(rays, shifts, matches, confidence, rounds=20)
    plain = triangulate(rays, shifts, matches, confidence, rounds=1)
    error, before = ((r.inverse_depth - w).abs().median() for r in (robust, plain))
    assert error < 0.25 * before and (robust.residual > 2).all()


def test_views_without_a_match_count_for_nothing():
    first, *rest = cameras(4)
    pixels, w = spread(100)
    rays, shifts, matches, confidence = exact_matches(first, rest, pixels, w)
    matches[:, 2] = 1e6
    confidence[:, 2] = 0
    result = triangulate(rays, shifts, matches, confidence)
    fewer = triangulate(rays[:, :2], shifts[:, :2], matches[:, :2], confidence[:, :2])
    for name in Triangulation.__dataclass_fields__:
        torch.testing.assert_close(getattr(result, name), getattr(fewer, name))


def test_no_parallax_and_no_match():
    first, second, _ = cameras(3)
    pixels, w = spread(20)
    still = triangulate(*exact_matches(first, [first], pixels, w))
    assert still.inverse_depth.abs().max() < 1e-9 and still.sd.min() > 1e9  # infinite but for rounding
    rays, shifts, matches, confidence = exact_matches(first, [second], pixels, w)
    none = triangulate(rays, shifts, matches, 0 * confidence)
    assert (none.inverse_depth == 0).all() and torch.isinf(none.sd).all() and torch.isfinite(none.residual).all()


def test_points_behind_a_camera_are_told():
    """The second camera stands beyond the point, looking away from it."""
    first = cameras(1)[0]
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[2, 3] = -6.0
    ahead = Cameras((viewmat @ first.viewmats[0])[None], first.Ks, 96, 72)
    pixels, w = spread(50)  # 2 to 8 units off
    result = triangulate(*exact_matches(first, [ahead], pixels, w))
    off = ((pixels - first.Ks[0, :2, 2]).norm(dim=-1) > 5) & ((1 / w - 6).abs() > 0.2)
    assert torch.equal(result.front[off], (1 / w > 6)[off])


@pytest.fixture(scope="module")
def scenes():
    rig = Rig(width=96, height=72, held_out=0, samples=1)
    return {name: getattr(synthetic, name)(rig) for name in ("plane", "box_and_sphere", "two_planes")}


def triangulated(scene, share: float):
    """Inverse depth and sd of view 1 from the exact flow to its neighbours, at a share of the pixels; inf elsewhere."""
    view = scene.views[1]
    centers = pixel_centers(view.cameras.width, view.cameras.height, torch.zeros(1).double())
    parts = []
    for j in (0, 2):
        moved, visible = flow(scene, 1, j)
        a, b = ray_in_other(view.cameras, scene.views[j].cameras, centers)
        parts.append((a, b.expand_as(a), centers + moved, visible.double()))
    result = triangulate(*(torch.stack(x, dim=2) for x in zip(*parts, strict=True)))
    chosen = torch.rand(result.sd.shape, generator=torch.Generator().manual_seed(0)) < share
    return result.inverse_depth.float(), torch.where(chosen, result.sd, torch.inf).float()


@pytest.mark.parametrize("name", ["plane", "box_and_sphere"])
def test_fill_from_a_tenth_of_the_pixels(scenes, name):
    """T15: median depth error under 1 %."""
    scene = scenes[name]
    w, sd = triangulated(scene, 0.1)
    filled = fill_inverse_depth(w, sd, scene.views[1].images[0])
    error = (1 / filled / scene.views[1].depths[0] - 1).abs()
    assert error.median() < 0.01 and filled.min() > 0
    known = torch.isfinite(sd)
    assert error[known].median() < 0.005


def test_fill_does_not_bleed_across_an_edge(scenes):
    """T15: from a fifth of the pixels, the step between the planes lies within 2 px of where the cut says."""
    scene = scenes["two_planes"]
    w, sd = triangulated(scene, 0.2)
    ids = scene.object_ids[1]
    cut = (ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1])
    filled = fill_inverse_depth(w, sd, scene.views[1].images[0], cut=cut)
    truth = 1 / scene.views[1].depths[0]
    wrong = (filled / truth - 1).abs() > 0.1
    assert wrong.float().mean() < 0.01
    middle = (1 / 3 + 1 / 5) / 2
    assert ((filled > middle).sum(1) - (ids == 1).sum(1)).abs().float().mean() < 2


def test_a_prior_gives_the_shape(scenes):
    """With the right shape as prior, three measured pixels are enough; the correction is smooth."""
    scene = scenes["box_and_sphere"]
    truth = 1 / scene.views[1].depths[0]
    sd = torch.full_like(truth, torch.inf)
    sd[10, 10] = sd[40, 80] = sd[60, 30] = 1.0
    filled = fill_inverse_depth(truth, sd, scene.views[1].images[0], prior=truth - 0.05, rounds=2000)
    torch.testing.assert_close(filled, truth, rtol=0, atol=1e-3)


def test_fill_minimises_its_energy():
    """Against a dense solve of the normal equations."""
    generator = torch.Generator().manual_seed(0)
    h, w = 6, 7
    image = torch.rand(h, w, 3, generator=generator) * 0.1
    target = torch.rand(h, w, generator=generator)
    sd = torch.rand(h, w, generator=generator) + 0.5
    sd[torch.rand(h, w, generator=generator) < 0.5] = torch.inf
    filled = fill_inverse_depth(target, sd, image, smooth=0.7, rounds=500)
    k = torch.where(sd.isfinite(), (sd[sd.isfinite()].median() / sd) ** 2, 0).double().flatten()
    matrix = torch.diag(k)
    index = torch.arange(h * w).reshape(h, w)
    for p, q in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        for i, j in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True):
            tie = 0.7 * torch.exp(-(image.reshape(-1, 3)[i] - image.reshape(-1, 3)[j]).norm() / 0.05)
            matrix[i, i] += tie
            matrix[j, j] += tie
            matrix[i, j] -= tie
            matrix[j, i] -= tie
    expected = torch.linalg.solve(matrix, k * torch.where(sd.isfinite(), target, 0).double().flatten())
    torch.testing.assert_close(filled.double().flatten(), expected, rtol=0, atol=1e-5)


def test_fill_needs_a_measured_pixel():
    nothing = torch.full((4, 5), torch.inf)
    with pytest.raises(ValueError, match="expected measured pixels"):
        fill_inverse_depth(torch.ones(4, 5), nothing, torch.zeros(4, 5, 3))


def test_unprojected_pixels_come_back():
    """T1: to 1e-4 px, with the axis off centre and fx unlike fy."""
    for camera in cameras():
        depth = torch.rand(1, 72, 96, generator=torch.Generator().manual_seed(0)).double() * 5 + 1
        xy, _ = project(camera, unproject(camera, depth)[0])
        assert (xy[0] - pixel_centers(96, 72, xy)).abs().max() < 1e-4
