"""Masks show the parts they are named after; figures are those computed by hand, by protocol and mask."""

import math

import pytest
import torch

from gs_reg.apps.avatar.protocols import Tally, evenly, jitter, measure, over_white, protocols
from gs_reg.apps.avatar.regions import Surface, region_masks
from gs_reg.priors.types import Part


@pytest.fixture(scope="module")
def surface(prior):
    return Surface.of(prior, None, 20_000)


def masks_at(surface, capture, frame, cameras):
    views = capture.views(frame, cameras)
    pose = capture.tracks.pose.matrices()[frame]
    return views, region_masks(surface, capture.tracks.codes[frame], pose, views.cameras, views.alphas)


def test_masks_lie_in_one_another(surface, capture):
    views, masks = masks_at(surface, capture, 0, [0, 2, 4])
    assert (masks["full"] == (views.alphas > 0.5)).all()
    for inner, outer in (("head", "full"), ("face", "head"), ("mouth", "head"), ("eyes", "head")):
        assert not (masks[inner] & ~masks[outer]).any() and masks[inner].any()
    # seen from the front, the neck is below and the face in front of the scalp
    rows = torch.arange(views.cameras.height)[:, None].expand_as(masks["full"][1])
    neck = masks["full"][1] & ~masks["head"][1]
    assert rows[neck].float().mean() > rows[masks["head"][1]].max() - 8
    assert masks["face"][1].sum() > 1.2 * masks["face"][0].sum()  # from the side less of it is seen


def test_the_mouth_is_where_its_samples_project(surface, capture):
    views, masks = masks_at(surface, capture, 0, [2])
    points = surface.posed(capture.tracks.codes[0])[surface.sample.parts == int(Part.LIP_LOWER)]
    world = capture.tracks.pose.matrices()[0]
    in_camera = (points @ world[:3, :3].T + world[:3, 3]) @ views.cameras.viewmats[0, :3, :3].T
    in_camera = in_camera + views.cameras.viewmats[0, :3, 3]
    pixels = in_camera @ views.cameras.Ks[0].T
    rows = pixels[:, 1] / pixels[:, 2]
    found = masks["mouth"][0].nonzero()[:, 0]
    assert rows.min() - 8 < found.min() and found.max() < rows.max() + 8


def test_figures_are_those_by_hand():
    truth = torch.zeros(2, 16, 16, 3)
    image = truth.clone()
    image[0, :8], image[1] = 0.1, 0.2
    mask = torch.ones(2, 16, 16, dtype=torch.bool)
    mask[1, :, 8:] = False
    tally = Tally()
    tally.add(image, truth, mask, None)
    figures = tally.figures()
    first, second = -10 * math.log10(0.01 / 2), -10 * math.log10(0.04)
    assert figures["psnr"] == pytest.approx((first + second) / 2, abs=1e-3)
    pooled = (0.01 * 128 + 0.04 * 128) / (256 + 128)
    assert figures["psnr_pooled"] == pytest.approx(-10 * math.log10(pooled), abs=1e-3)
    assert figures["images"] == 2 and figures["lpips"] is None


def test_images_that_hardly_show_the_part_do_not_count():
    tally = Tally()
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 0, :5] = True
    tally.add(torch.zeros(1, 16, 16, 3), torch.ones(1, 16, 16, 3), mask, None)
    assert tally.figures() == {"psnr": None, "psnr_pooled": None, "ssim": None, "lpips": None, "images": 0}


def test_protocols_share_no_image(capture):
    found = protocols(capture, 100)
    pairs = {name: {(f, c) for f in p.frames for c in p.cameras} for name, p in found.items()}
    assert not pairs["self_reenactment"] & pairs["novel_view"]
    assert found["self_reenactment"].frames == tuple(range(6, 12)) and found["self_reenactment"].cameras == (0, 1, 3, 4)
    assert found["novel_view"].frames == tuple(range(6)) and found["novel_view"].cameras == (2,)
    assert evenly(range(100), 5) == (0, 25, 50, 74, 99) and evenly((7,), 5) == (7,)


def test_a_perfect_avatar_scores_without_end_and_a_white_one_does_not(surface, capture):
    protocol = protocols(capture, 2)["self_reenactment"]

    def masks(views):
        pose = capture.tracks.pose.matrices()[views.frame]
        return region_masks(surface, capture.tracks.codes[views.frame], pose, views.cameras, views.alphas)

    good = measure(over_white, capture, protocol, masks)
    bad = measure(lambda views: torch.ones_like(views.photos), capture, protocol, masks)
    assert math.isinf(good["full"]["psnr"]) and good["face"]["ssim"] == pytest.approx(1)
    assert bad["face"]["psnr"] < 10 and set(bad) >= {"full", "head", "face", "regions"}
    assert bad["full"]["images"] == 2 * 4


def test_jitter_is_the_second_difference():
    steady = torch.arange(5.0)[:, None, None].expand(5, 2, 3)
    assert jitter(steady) == 0 and jitter(steady[:2]) is None
    shaking = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None, None] * torch.tensor([1.0, 0, 0])
    assert jitter(shaking) == 2.0
