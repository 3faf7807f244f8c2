"""Depth of every pixel from photos alone, on scenes of known depth; what it does not depend on; what it refuses."""

import dataclasses

import pytest
import torch

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.depth import DepthConfig, DepthMap, estimate_depths
from gs_reg.data_tools.synthetic import Rig
from gs_reg.errors import InputError
from gs_reg.types import Views

RIG = Rig(width=128, height=96, octaves=4, held_out=0, samples=2, aspect=1.05, principal=(0.48, 0.53))


@pytest.fixture(scope="module")
def scenes():
    return {name: getattr(synthetic, name)(RIG) for name in ("plane", "two_planes", "box_and_sphere")}


@pytest.fixture(scope="module")
def found(scenes) -> dict[str, tuple[DepthMap, ...]]:
    return {name: estimate_depths(scene.training_scene().views) for name, scene in scenes.items()}


def error(depth: DepthMap, view: Views) -> torch.Tensor:
    return (depth.depth / view.depths[0] - 1).abs()


@pytest.mark.parametrize("name", ["plane", "two_planes", "box_and_sphere"])
def test_depth_of_known_scenes(scenes, found, name):
    for view, depth in zip(scenes[name].train, found[name], strict=True):
        wrong = error(depth, view)
        assert wrong.median() < 0.01 and (wrong < 0.05).float().mean() > 0.95
        assert depth.confident.float().mean() > 0.85 and wrong[depth.confident].quantile(0.95) < 0.05
        assert depth.depth.shape == (96, 128) and depth.depth.min() > 0 and torch.isfinite(depth.depth).all()
        assert (depth.views[depth.confident] >= 1).all() and (depth.views[~depth.confident] == 0).all()


def test_no_bleeding_across_an_edge(scenes, found):
    """Rows change from the near to the far plane within 2 px of the truth, with nothing in between."""
    scene = scenes["two_planes"]
    for view, depth, ids in zip(scene.train, found["two_planes"], scene.object_ids, strict=True):
        truth, w, near = 1 / view.depths[0], 1 / depth.depth, ids == 1
        low, high = truth[~near].max(), truth[near].min()
        shift = ((w > (low + high) / 2).sum(1) - near.sum(1)).abs()
        assert shift.max() <= 2
        between = (w > low + 0.25 * (high - low)) & (w < low + 0.75 * (high - low))
        assert between.float().mean() < 0.002


def test_pixels_without_a_match_are_less_certain(scenes, found):
    """The sd is a spread: measured pixels err by about what they say, filled ones have a large one."""
    for name, maps in found.items():
        for view, depth in zip(scenes[name].train, maps, strict=True):
            score = (1 / depth.depth - 1 / view.depths[0]).abs() / depth.sd
            assert (score[depth.confident] < 3).float().mean() > 0.9
            if not depth.confident.all():
                assert depth.sd[~depth.confident].min() > 3 * depth.sd[depth.confident].median()


def moved(view: Views, matrix: torch.Tensor, scale: float) -> Views:
    """The same photo in a world that is turned, shifted and scaled."""
    home = torch.eye(4, dtype=torch.float64)
    home[:3, :3], home[:3, 3] = matrix[:3, :3] / scale, -matrix[:3, :3] @ matrix[:3, 3]
    viewmats = view.cameras.viewmats.double() @ home
    viewmats[:, :3] *= scale
    return dataclasses.replace(view, cameras=dataclasses.replace(view.cameras, viewmats=viewmats.float()), depths=None)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_world_scale_and_frame_do_not_matter(scenes, found, scale):
    """T16 of the initialisation."""
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.tensor([[0.0, -0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, 0.6]])
    turn[:3, 3] = torch.tensor([1.0, -2.0, 3.0]) * scale
    again = estimate_depths([moved(view, turn, scale) for view in scenes["two_planes"].train])
    for a, b in zip(found["two_planes"], again, strict=True):
        off = (b.depth / scale / a.depth - 1).abs()
        assert off.median() < 1e-4 and (off < 1e-3).float().mean() > 0.99
        assert (a.confident == b.confident).float().mean() > 0.99
        assert (b.sd * scale / a.sd - 1).abs().median() < 1e-3


def test_order_of_views_and_number_of_threads_do_not_matter(scenes, found):
    views = scenes["two_planes"].training_scene().views
    again = estimate_depths([views[2], views[0], views[1]], DepthConfig(threads=1))
    for i, j in ((0, 2), (1, 0), (2, 1)):
        off = (again[i].depth / found["two_planes"][j].depth - 1).abs()
        # the search's range comes from points of ordered pairs, so it moves a little
        assert off.median() < 1e-3 and (off < 1e-2).float().mean() > 0.98


def test_two_views_of_other_sizes_and_focal_lengths(scenes):
    scene = scenes["plane"]
    first, other = scene.train[0], shrunk(scene.train[1], 96, 72)
    maps = estimate_depths([dataclasses.replace(view, depths=None) for view in (first, other)])
    assert maps[1].depth.shape == (72, 96)
    assert error(maps[0], first).median() < 0.01 and error(maps[1], other).median() < 0.01


@pytest.mark.parametrize("count", [2, 5, 9])
def test_any_number_of_views_of_mixed_sizes(count):
    """T21; every second photo has another size, and so other focal lengths in pixels."""
    scene = synthetic.box_and_sphere(Rig(96, 72, cameras=count, baseline=0.2, octaves=4, held_out=0, samples=1))
    views = [shrunk(view, 64, 48) if i % 2 else view for i, view in enumerate(scene.train)]
    for depth, view in zip(estimate_depths(views), views, strict=True):
        assert depth.depth.shape == view.images.shape[1:3]
        assert error(depth, view).median() < 0.03 and depth.confident.float().mean() > 0.5


def shrunk(view: Views, width: int, height: int) -> Views:
    images = torch.nn.functional.interpolate(view.images.movedim(-1, 1), (height, width), mode="area").movedim(1, -1)
    depths = torch.nn.functional.interpolate(view.depths[None], (height, width), mode="area")[0]
    return Views(view.cameras.resized(width, height), images, view.names, None, depths)


def test_search_at_a_smaller_size(scenes):
    maps = estimate_depths(scenes["plane"].training_scene().views, DepthConfig(sweep_pixels=5000))
    for depth, view in zip(maps, scenes["plane"].train, strict=True):
        assert depth.depth.shape == (96, 128) and error(depth, view).median() < 0.01


def test_masked_pixels_are_not_measured(scenes):
    scene = scenes["plane"]
    views = []
    for view in scene.train:
        mask = torch.ones(1, 96, 128, dtype=torch.bool)
        mask[..., :40] = False
        views.append(dataclasses.replace(view, masks=mask, depths=None))
    for depth, view in zip(estimate_depths(views), scene.train, strict=True):
        assert not depth.confident[:, :40].any() and depth.confident[:, 48:].float().mean() > 0.7
        assert error(depth, view)[:, 48:].median() < 0.01


def test_progress_rises_to_one(scenes):
    heard = []
    estimate_depths(
        scenes["plane"].training_scene().views[:2], progress=lambda stage, done: heard.append((stage, done))
    )
    shares = [done for _, done in heard]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == pytest.approx(1)
    assert all(stage for stage, _ in heard)


def test_views_without_a_common_surface_are_named(scenes):
    """T21, T17's neighbours: a pair that shares nothing is named, as is a set of one."""
    first = scenes["plane"].training_scene().views[0]
    other = scenes["box_and_sphere"].training_scene().views[2]
    with pytest.raises(
        InputError, match=r"0 triangulated points.*train_00 and train_02 share no visible surface"
    ) as hit:
        estimate_depths([first, other])
    assert "\n" not in str(hit.value)
    blank = dataclasses.replace(other, images=torch.full_like(other.images, 0.5))
    with pytest.raises(InputError, match="0 triangulated points for train_00"):
        estimate_depths([first, blank])
    still = dataclasses.replace(first, names=("again",))
    with pytest.raises(InputError, match="train_00 and again"):
        estimate_depths([first, still])
    with pytest.raises(InputError, match=r"expected 2 photos or more .* got 1"):
        estimate_depths([first])
    pair = Views(
        dataclasses.replace(
            first.cameras, viewmats=first.cameras.viewmats.repeat(2, 1, 1), Ks=first.cameras.Ks.repeat(2, 1, 1)
        ),
        first.images.repeat(2, 1, 1, 1),
    )
    with pytest.raises(InputError, match="views of one photo each, got one of 2"):
        estimate_depths([pair, first])


def test_cameras_that_do_not_fit_the_photos_are_refused(scenes):
    """The second photo with the third one's camera turned by 8 degrees: matches do not triangulate."""
    views = scenes["plane"].training_scene().views
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[1, 0, 0], [0, 0.9903, -0.1392], [0, 0.1392, 0.9903]])
    cameras = dataclasses.replace(views[1].cameras, viewmats=turn @ views[1].cameras.viewmats)
    with pytest.raises(InputError, match="cameras that fit them"):
        estimate_depths([views[0], dataclasses.replace(views[1], cameras=cameras)])
