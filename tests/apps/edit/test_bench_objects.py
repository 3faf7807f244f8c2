"""Procedural objects of the bench: reconstructed from photos, with the true part of each Gaussian."""

import pytest
import torch

from gs_reg.apps.edit.bench.objects import ObjectConfig, bench_objects, photographed, quality
from gs_reg.apps.edit.bench.parts import VARIANTS, label_views, part_figures, spoiled, true_maps, true_pixels
from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.errors import InputError
from gs_reg.init.hull import hull_splats, inside_silhouettes
from gs_reg.io import load_splats

SMALL = ObjectConfig(size=64, photos=12, gaussians=1500, steps=200)


@pytest.fixture(scope="module")
def mug(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    (item,) = bench_objects(folder, SMALL, ("mug",))
    return item, folder


def test_an_object_is_reconstructed_once(mug):
    item, folder = mug
    assert quality(item, 4, 64) > 20
    before = [path.stat().st_mtime_ns for path in folder.iterdir()]
    (again,) = bench_objects(folder, SMALL, ("mug",))
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == before
    assert torch.equal(again.splats.means, item.splats.means) and len(load_splats(next(folder.iterdir()))) == 1500


def test_true_maps_give_the_true_parts(mug):
    item, _ = mug
    views = label_views(item, 12, 64)
    maps = true_maps(true_pixels(item, views.cameras), item.item.parts)
    figures = dict(part_figures(item, views, maps, item.held_out(6, 64), {"joint": VARIANTS["joint"]}))["joint"]
    assert figures.miou > 0.85 and figures.miou_3d > 0.85 and figures.miou_maps > 0.95


def test_spoiled_maps_are_made_good(mug):
    item, _ = mug
    views = label_views(item, 18, 64)
    good = true_maps(true_pixels(item, views.cameras), item.item.parts)
    maps = spoiled(good, seed=1)
    assert (maps.maps != good.maps).any() and (maps.weights == 0).any()
    found = dict(part_figures(item, views, maps, item.held_out(6, 64), {"joint": VARIANTS["joint"]}))["joint"]
    assert found.miou > found.miou_maps and found.miou > 0.8


def test_points_inside_silhouettes(mug):
    views, _ = photographed(mug[0].item, mug[0].look, orbit(8, 64))
    points = torch.tensor([[0.0, 0, 0], [0.95, 0.95, 0.95], [0, 0, 30]])
    # the last one lies behind some cameras and outside the pictures of the others
    assert inside_silhouettes(views, points).tolist() == [True, False, False]
    splats = hull_splats(views, 50, torch.zeros(3), 1.0, seed=0)
    assert inside_silhouettes(views, splats.means).all() and len(splats) == 50
    with pytest.raises(InputError, match="silhouettes: 0 of"):
        hull_splats(views, 50, torch.tensor([9.0, 9, 9]), 0.1, seed=0)
