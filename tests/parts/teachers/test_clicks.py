"""Clicks and boxes: the regions that they mean in 3D, what other views see of them, and mistakes."""

import math

import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.io import load_splats
from gs_reg.parts.prompts import PartPrompt
from gs_reg.parts.teachers.base import TeacherSetting
from gs_reg.parts.teachers.clicks import Clicks, drawn, regions
from gs_reg.parts.teachers.lifting import Scenery
from gs_reg.parts.teachers.marks import parse_mark
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

from .scene import PARTS, VIEWS, TwoParts

HEAD, BODY = "head=000:24,15", "body=000:24,33"


def chosen(scene: TwoParts, *texts: str, parts=PARTS) -> torch.Tensor:
    scenery = Scenery(scene.splats, scene.cameras, VIEWS)
    return regions(scenery, [parse_mark(text) for text in texts], parts)


def iou(a, b) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_one_click_a_part_finds_both_parts(scene: TwoParts):
    found = chosen(scene, HEAD, BODY)
    assert min(iou(found[:, row], scene.parts[:, row]) for row in (0, 1)) > 0.97
    assert not found.all(1).any()


def test_one_click_alone_ends_at_the_other_colour(scene: TwoParts):
    assert iou(chosen(scene, HEAD, parts=PARTS[:1])[:, 0], scene.parts[:, 0]) > 0.95


def test_a_region_does_not_jump_over_a_gap(scene: TwoParts):
    far = Splats(**{**scene.splats.fields(), "means": scene.splats.means + torch.tensor([3.0, 0, 0])})
    both = TwoParts(
        Splats.joined([scene.splats, far]), scene.parts, scene.cameras, scene.pictures, scene.alphas, scene.maps
    )
    found = chosen(both, HEAD, BODY)
    assert not found[len(scene.splats) :].any() and iou(found[: len(scene.splats), 0], scene.parts[:, 0]) > 0.95


def test_what_does_not_belong_takes_its_own_colour_away(scene: TwoParts):
    """Two shades that one tolerance covers: only the mark of what is not the part tells them apart."""
    shades = torch.where(scene.parts[:, :1], torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.62, 0.5, 0.5]))
    alike = TwoParts(
        Splats(**{**scene.splats.fields(), "sh": rgb_to_sh(shades)[:, None]}),
        *(scene.parts, scene.cameras, scene.pictures, scene.alphas, scene.maps),
    )
    loose = chosen(alike, HEAD, parts=PARTS[:1])[:, 0]
    kept = chosen(alike, HEAD, "!head=000:24,33", parts=PARTS[:1])[:, 0]
    assert iou(loose, alike.parts[:, 0]) < 0.6 < 0.95 < iou(kept, alike.parts[:, 0])


def test_of_one_colour_the_shorter_way_decides(scene: TwoParts):
    """Both parts in the body's colour: each gets what is nearer to its click."""
    grey = Splats(**{**scene.splats.fields(), "sh": torch.zeros_like(scene.splats.sh)})
    alike = TwoParts(grey, scene.parts, scene.cameras, scene.pictures, scene.alphas, scene.maps)
    found = chosen(alike, HEAD, BODY, "body=002:24,33", "body=001:24,24", "body=003:24,24")
    assert min(iou(found[:, row], scene.parts[:, row]) for row in (0, 1)) > 0.75


def test_a_box_in_a_view_ends_at_its_sides(scene: TwoParts):
    found = chosen(scene, "body=000:10,22,24,46", parts=("body",))[:, 0]
    x = project(scene.cameras[0], scene.splats.means)[0][0, :, 0]
    assert found.sum() > 300 and x[found].max() < 26  # the holes' votes may go one splat further


def test_a_box_in_space_is_the_region(scene: TwoParts):
    found = chosen(scene, "head=-0.5,0.05,-0.5,0.5,1,0.5", parts=("head",))[:, 0]
    assert iou(found, scene.parts[:, 0]) > 0.97


def test_the_maps_are_the_regions_as_the_views_see_them(scene: TwoParts):
    marks = tuple(parse_mark(text) for text in (HEAD, BODY))
    teacher = Clicks(TeacherSetting(VIEWS, scene.splats, marks))
    teacher.prepare(PartPrompt("x", PARTS))
    made = teacher.maps(scene.pictures, scene.alphas, scene.cameras)
    assert all(iou(made.maps[c, row] > 0.5, scene.maps.maps[c, row] > 0.5) > 0.93 for c in range(4) for row in (0, 1))
    assert teacher.notes["splats"]["head"] > 1000


def test_other_views_are_asked_where_they_see_the_point(scene: TwoParts):
    scenery = Scenery(scene.splats, scene.cameras, VIEWS)
    marks = [parse_mark(text) for text in (HEAD, "!head=000:24,33", "body=000:18,28,30,40")]
    asked = scenery.questions(marks, PARTS)
    head, body = asked[0]
    assert head is not None and head.labels.tolist() == [1, 0]
    assert torch.allclose(head.points, torch.tensor([[24.0, 15.0], [24.0, 33.0]]), atol=0.6)
    assert body is not None and len(body.points) == 0
    assert torch.allclose(body.box, torch.tensor([18.0, 28, 30, 40]), atol=1.0)
    assert asked[2] == [None, None]  # from behind
    given = head.inputs()
    assert given["input_labels"] == [[[1, 0]]] and "input_boxes" not in given


def test_one_leaf_and_the_pot_of_a_real_plant(real_data):
    """Captured splats: a box around the top leaf, two clicks on the pot and one on the soil."""
    splats = load_splats(real_data / "gaussians" / "plant.splat")
    middle, up = torch.tensor([0.0074, 0.0331, -0.0037]), torch.tensor([0.0, -1, 0])
    eyes = [middle + torch.tensor([1.275 * math.sin(a), -0.1115, 1.275 * math.cos(a)]) for a in (0, 2.0944)]
    cameras = Cameras.joined([Cameras.look_at(eye, middle, up, math.radians(50), 320, 320) for eye in eyes])
    marks = ("leaf=0:148,8,178,56", "pot=0:147,240", "pot=1:172,245", "!pot=0:157,199")
    found = regions(Scenery(splats, cameras, ("0", "1")), [parse_mark(m) for m in marks], ("leaf", "pot"))
    leaf, pot = drawn(splats, cameras[0], found)[0]
    assert leaf[12:50, 158:168].mean() > 0.9 and leaf[60:].max() < 0.1 and leaf[:, :140].max() < 0.1
    assert pot[215:275, 112:185].mean() > 0.9 and pot[:170].max() < 0.1
    assert leaf.sum() > 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("head", "expected PART=VIEW"),
        ("=000:1,2", "expected PART=VIEW"),
        ("head=000:1,2,3", "expected PART=VIEW"),
        ("head=1,2", "expected PART=VIEW"),
        ("head=000:1,nan", "expected PART=VIEW"),
        ("head=000:9,9,3,12", "lower corner first"),
        ("head=0,0,0,1,-1,1", "lower corner first"),
    ],
)
def test_marks_that_cannot_be_read(text, words):
    with pytest.raises(InputError, match=words):
        parse_mark(text)


def test_marks_are_written_as_they_are_read():
    for text in ("!pump head=a:b:1.5,2", "head=000:1,2,3,4", "head=0,0,0,1,1,1"):
        assert str(parse_mark(text)) == text


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("lid=000:1,2", BODY), "no part 'lid'; there are head, body"),
        (("head=front:1,2", BODY), "no view 'front'; there are 000"),
        ((BODY,), "part 'head': no click on it"),
        ((BODY, "!head=000:24,15"), "part 'head': no click on it"),
    ],
)
def test_marks_that_do_not_fit_are_named_before_any_work(scene: TwoParts, texts, words):
    teacher = Clicks(TeacherSetting(VIEWS, scene.splats, tuple(parse_mark(text) for text in texts)))
    with pytest.raises(InputError, match=words):
        teacher.prepare(PartPrompt("x", PARTS))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("head=000:1,1", "no surface"),
        ("head=000:60,1", "outside the view of 48 x 48"),
        ("head=5,5,5,6,6,6", "no splat lies in the box"),
    ],
)
def test_marks_that_hit_nothing_are_named(scene: TwoParts, text, words):
    with pytest.raises(InputError, match=words):
        chosen(scene, text, BODY)


def test_clicks_need_splats():
    with pytest.raises(InputError, match="expected splats"):
        Clicks(TeacherSetting(VIEWS)).prepare(PartPrompt("x", PARTS))
