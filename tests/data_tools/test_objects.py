"""Procedural objects: solids against closed forms, pictures by hand, words, and the data set of a teacher."""

import json
import math

import numpy as np
import pytest
import torch

from gs_reg.data_tools.synthetic.objects.buffers import CHEQUER, SHADE_SCALE, STRIPE, Buffers, cast, draw
from gs_reg.data_tools.synthetic.objects.cameras import orbit, random_cameras
from gs_reg.data_tools.synthetic.objects.captions import WORDS, compose, random_caption, words_of
from gs_reg.data_tools.synthetic.objects.colors import (
    COLORS,
    GREY,
    HELD_OUT,
    NAMES,
    Paint,
    coverage,
    majority,
    nearest_color,
    paint,
    random_paint,
)
from gs_reg.data_tools.synthetic.objects.dataset import DataConfig, read_split, write_dataset
from gs_reg.data_tools.synthetic.objects.families import PARTS, make_object
from gs_reg.data_tools.synthetic.objects.gaussians import photos_of, splats_of
from gs_reg.data_tools.synthetic.objects.solids import Solid
from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.sh import rgb_to_sh

UNIT = np.eye(3)
ORIGIN = np.zeros(3)
SOLIDS = {
    "ball": Solid("ball", 1, np.diag([1.0, 2.0, 0.5]), np.array([0.1, 0.2, 0.3])),
    "box": Solid("box", 1, np.diag([1.0, 2.0, 0.5]), np.array([0.1, 0.2, 0.3])),
    "frustum": Solid("frustum", 1, np.diag([1.0, 2.0, 0.5]), np.array([0.1, 0.2, 0.3]), 0.4),
    "ring": Solid("ring", 1, np.diag([1.0, 2.0, 0.5]), np.array([0.1, 0.2, 0.3]), 0.3),
}


def hit(solid: Solid, origin: tuple, direction: tuple) -> float:
    return float(solid.cast(np.array(origin, float), np.array([direction], float))[0])


def test_rays_meet_solids_where_the_closed_forms_say():
    ball = Solid("ball", 1, 2 * UNIT, np.array([0, 0, 5.0]))
    assert hit(ball, (0, 0, 0), (0, 0, 1)) == pytest.approx(3)
    assert hit(ball, (0, 0, 5), (0, 0, 2)) == pytest.approx(1)  # from inside; t is in lengths of the direction
    assert hit(ball, (0, 3, 0), (0, 0, 1)) == math.inf
    box = Solid("box", 1, np.diag([1.0, 2.0, 3.0]), ORIGIN)
    assert hit(box, (0, -10, 0), (0, 1, 0)) == pytest.approx(8)
    assert hit(box, (0, -10, 4), (0, 1, 0)) == math.inf
    cone = Solid("frustum", 1, UNIT, ORIGIN, 0.0)
    assert hit(cone, (-5, 0, 0), (1, 0, 0)) == pytest.approx(4.5)  # half-way up the radius is a half
    assert hit(cone, (0.3, -5, 0), (0, 1, 0)) == pytest.approx(4)  # the cap
    assert hit(cone, (-5, 1.01, 0), (1, 0, 0)) == math.inf
    ring = Solid("ring", 1, UNIT, ORIGIN, 0.25)
    assert hit(ring, (-5, 0, 0), (1, 0, 0)) == pytest.approx(3.75, abs=2e-3)
    assert hit(ring, (1, 5, 0), (0, -1, 0)) == pytest.approx(4.75, abs=2e-3)
    assert hit(ring, (0, 5, 0), (0, -1, 0)) == math.inf  # through the hole


@pytest.mark.parametrize("kind", SOLIDS)
def test_samples_lie_on_the_surface_and_normals_point_outwards(kind):
    solid = SOLIDS[kind]
    points, _ = solid.sample(300, np.random.default_rng(0))
    normals = solid.normals(points)
    assert np.allclose(np.linalg.norm(normals, axis=-1), 1)
    # the normal of a flattened shape can be far from the way to its nearest inside: only a tiny step is sure
    inside, outside = solid.contains(points - 0.004 * normals, 0), solid.contains(points + 0.004 * normals, 0)
    assert inside.mean() > 0.97 and outside.mean() < 0.03


def test_areas_are_those_of_the_closed_forms():
    rng = np.random.default_rng(0)
    areas = {
        Solid("ball", 1, 3 * UNIT, ORIGIN): 4 * math.pi * 9,
        Solid("box", 1, np.diag([1.0, 2.0, 3.0]), ORIGIN): 8 * (2 + 3 + 6),
        Solid("frustum", 1, UNIT, ORIGIN, 0.5): math.pi * (1.5 * math.hypot(2, 0.5) + 1 + 0.25),
        Solid("frustum", 1, np.diag([1.0, 2.0, 1.0]), ORIGIN, 1.0): 2 * math.pi * 4 + 2 * math.pi,
        Solid("ring", 1, UNIT, ORIGIN, 0.25): 4 * math.pi**2 * 0.25,
    }
    for solid, area in areas.items():
        assert solid.sample(20000, rng)[1] == pytest.approx(area, rel=0.02), solid.kind


@pytest.mark.parametrize("family", PARTS)
def test_every_part_of_a_family_is_seen_and_the_object_fills_the_unit_ball(family):
    item = make_object(family, 3)
    assert {solid.part for solid in item.solids} == set(range(1, len(PARTS[family]) + 1))
    corners = np.concatenate([solid.sample(500, np.random.default_rng(1))[0] for solid in item.solids])
    assert 0.9 < np.linalg.norm(corners, axis=-1).max() < 1.05
    seen = torch.from_numpy(draw(item, orbit(12, 96)).codes & 7)
    assert set(seen.unique().tolist()) == {0, *range(1, len(PARTS[family]) + 1)}


def test_the_words_are_as_many_as_promised():
    names = {part for parts in PARTS.values() for part in parts}
    assert len(PARTS) >= 12 and len(names) >= 30
    assert sum(" " in name for name in names) >= 3
    assert all(3 <= len(parts) <= 6 for parts in PARTS.values())


def test_depth_is_the_distance_along_the_axis_of_the_camera():
    item = make_object("mug", 0)
    camera = orbit(1, 65)
    depths, rows = cast(item, camera)
    y, x = np.argwhere(rows >= 0)[len(np.argwhere(rows >= 0)) // 2]
    K = camera.Ks[0].numpy()
    ray = np.array([(x + 0.5 - K[0, 2]) / K[0, 0], (y + 0.5 - K[1, 2]) / K[1, 1], 1.0])
    world = camera.world_from_camera[0].numpy()
    point = world[:3, :3] @ (ray * depths[y, x]) + world[:3, 3]
    solid = item.solids[rows[y, x]]
    assert not solid.contains(point[None] + 2e-3 * solid.normals(point[None]))[0]
    assert solid.contains(point[None] - 2e-2 * solid.normals(point[None]), 0)[0]


def one_pixel(code: int, gloss: int = 0, shade: float = 1.0) -> Buffers:
    full = np.ones((1, 2, 2), np.uint8)
    return Buffers(full * code, full * round(shade * SHADE_SCALE), full * gloss)


def test_a_pixel_has_the_colour_of_its_part_times_the_shading():
    look = Paint((NAMES.index("red"), NAMES.index("white")), (0, 2))
    image, parts = paint(one_pixel(1, shade=0.5), [look], np.array([0.97]))
    assert image.flatten().tolist() == pytest.approx([c / 255 / 2 for c in COLORS["red"]], abs=1e-6)
    assert parts.item() == 1
    plain, _ = paint(one_pixel(2), [look], np.array([0.97]))
    striped, _ = paint(one_pixel(2 | STRIPE), [look], np.array([0.97]))
    assert plain.flatten().tolist() == pytest.approx([240 / 255] * 3)
    assert striped.flatten().tolist() == pytest.approx([0.35 * 240 / 255] * 3)
    chequered, _ = paint(one_pixel(2 | CHEQUER), [look], np.array([0.97]))
    assert torch.equal(chequered, plain)  # this part is striped, not chequered
    background, none = paint(one_pixel(STRIPE, shade=0.0), [look], np.array([0.97]))
    assert background.flatten().tolist() == pytest.approx([0.97] * 3) and none.item() == 0


def test_a_shiny_part_goes_towards_white_in_its_highlight():
    look = Paint((NAMES.index("black"),), (1,))
    image, _ = paint(one_pixel(1, gloss=255), [look], np.array([0.0]))
    assert image.flatten().tolist() == pytest.approx([25 / 255 + 0.75 * 230 / 255] * 3)
    matte, _ = paint(one_pixel(1, gloss=255), [Paint(look.colors, (0,))], np.array([0.0]))
    assert matte.flatten().tolist() == pytest.approx([25 / 255] * 3)


def test_the_majority_of_subpixels_names_the_pixel():
    parts = torch.tensor([[[2, 2, 0, 0], [3, 3, 1, 1], [1, 1, 6, 6], [1, 0, 6, 5]]])
    assert majority(parts, 2).tolist() == [[[2, 0], [1, 6]]]
    cover = coverage(torch.tensor([[[1, 0], [2, 2]]]), 1)
    assert cover[0, :, 0].tolist() == [0.25, 0.5, 0, 0, 0, 0]


def test_named_colours_are_nearest_to_themselves():
    assert [nearest_color(np.array(color) / 255) for color in COLORS.values()] == list(range(len(COLORS)))


def test_held_out_combinations_are_some_and_never_painted():
    share = len(HELD_OUT) / sum(len(parts) * len(NAMES) for parts in PARTS.values())
    assert 0.12 < share < 0.2
    rng = np.random.default_rng(0)
    for family, parts in PARTS.items():
        for _ in range(200):
            colors = random_paint(family, rng).colors
            named = {(family, p, NAMES[c]) for p, c in zip(parts, colors, strict=True) if c != GREY}
            assert not named & HELD_OUT


def test_captions_say_which_words_name_which_part():
    caption = compose("dispenser", [(1, "shiny red"), (0, "")], articles=True, view="side")
    assert caption.text == "a photo of a dispenser with a shiny red pump head and a collar, side view"
    first, second = caption.spans
    assert caption.text[first.start : first.end] == "pump head"
    assert caption.text[first.phrase : first.end] == "shiny red pump head"
    assert caption.text[second.start : second.end] == "collar" and second.part == 0


def test_random_captions_use_known_words_and_name_their_parts():
    rng = np.random.default_rng(0)
    empty = 0
    for i in range(600):
        family = tuple(PARTS)[i % len(PARTS)]
        caption = random_caption(family, random_paint(family, rng), (rng.uniform(-180, 180), 10.0), rng)
        empty += not caption.text
        assert set(caption.text.replace(",", " ,").split()) <= set(WORDS)
        for span in caption.spans:
            assert caption.text[span.start : span.end] == PARTS[family][span.part]
    assert 30 < empty < 90


def test_looks_in_words():
    look = Paint((NAMES.index("teal"), GREY), (2, 0))
    assert words_of(look, 0) == "striped teal"
    assert words_of(look, 1) == ""


SMALL = DataConfig(size=32, shapes=12, held_out=24, views=2, seed=4)


def test_the_data_set_is_the_same_for_the_same_seed_and_splits_share_no_shape(tmp_path):
    write_dataset(tmp_path / "a", SMALL)
    write_dataset(tmp_path / "b", SMALL)
    indices = [json.loads((tmp_path / name / "index.json").read_text()) for name in "ab"]
    assert indices[0] == indices[1]
    splits = {name: read_split(tmp_path / "a", name) for name in ("train", "validation", "test")}
    assert [len(split) for split in splits.values()] == [24, 24, 24]
    seeds = [set(split.seeds.tolist()) for split in splits.values()]
    assert not (seeds[0] & seeds[1] or seeds[0] & seeds[2] or seeds[1] & seeds[2])
    row = 7
    again = draw(splits["test"].object(row), splits["test"].cameras(row, 64))
    assert (again.codes[0] == splits["test"].buffers.codes[row]).mean() > 0.995  # cameras are stored in float32


def test_a_data_set_of_bad_shape_is_refused():
    with pytest.raises(InputError, match="multiple of 32"):
        DataConfig(size=50)
    with pytest.raises(InputError, match="at least"):
        DataConfig(shapes=3)
    with pytest.raises(InputError, match="from 0 to 1"):
        DataConfig(crops=1.5)


def test_rows_of_gaussians_know_their_part():
    item = make_object("mug", 5)
    look = Paint((NAMES.index("red"), NAMES.index("green"), NAMES.index("blue")), (0, 0, 0))
    splats = splats_of(item, look, 3000)
    part = splats.extra["part"]
    assert set(part.tolist()) == {1, 2, 3}
    changed = splats_of(item, look.changed(1, NAMES.index("white")), 3000)
    differs = (changed.sh != splats.sh).any(-1).any(-1)
    assert torch.equal(differs, part == 2) and torch.equal(changed.means, splats.means)
    views, ids = photos_of(item, look, orbit(6, 64))
    agree = total = 0
    for i in range(6):
        xy, z = (value[0] for value in project(views.cameras[i], splats.means))
        x, y = xy.long().clamp(0, 63).unbind(-1)
        visible = (z - views.depths[i, y, x]).abs() < 0.01
        agree += int((torch.from_numpy(ids)[i, y, x] == part)[visible].sum())
        total += int(visible.sum())
    assert total > 2000 and agree / total > 0.95


def test_gaussians_lie_flat_on_the_surface():
    item = make_object("house", 1)
    splats = splats_of(item, Paint((0, 1, 2, 3), (0, 0, 0, 0)), 2000)
    rotations = torch.nn.functional.normalize(splats.quats, dim=-1)
    w, x, y, z = rotations.unbind(-1)
    normal = torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], -1)
    walls = splats.extra["part"] == 4
    box = next(solid for solid in item.solids if solid.part == 4)
    assert np.allclose(normal[walls].numpy(), box.normals(splats.means[walls].double().numpy()), atol=1e-4)
    assert (splats.log_scales[:, 2] < splats.log_scales[:, 0]).all()
    assert splats.sh.shape[1] == 16 and (splats.sh[:, 1:] == 0).all()
    assert (splats.sh[:, 0] <= rgb_to_sh(torch.ones(3)) + 1e-6).all()


def test_cameras_look_at_the_object_or_at_a_part():
    item = make_object("face", 2)
    cameras = random_cameras(item, 8, 64, 0.0, np.random.default_rng(0))
    for i in range(8):
        parts = draw(item, cameras[i]).codes[0] & 7
        assert 0.15 < (parts > 0).mean() < 0.95
    near = random_cameras(item, 8, 64, 1.0, np.random.default_rng(0))
    assert near.Ks[:, 0, 0].max() > 1.5 * cameras.Ks[:, 0, 0].max()  # some part is small
