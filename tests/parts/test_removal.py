"""Removal of a part: what is behind it is filled in, and the air stays air."""

import numpy as np
import torch

from gs_reg.geometry import unproject
from gs_reg.models.part_edit import PartEdit
from gs_reg.parts.holes import harmonic
from gs_reg.parts.locality import rows_changed
from gs_reg.parts.removal import agreed, fill_behind
from gs_reg.parts.views import part_views
from gs_reg.render import render
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats, Views

STEP = 0.04
SIZE = 64


def sheet(half, z, color, without=0.0, at=0.0):
    """A square of flat splats that faces +z; a square hole in it. Its green rises with x."""
    line = torch.arange(-half, half + STEP / 2, STEP)
    x, y = torch.meshgrid(line, line, indexing="xy")
    kept = (x.abs() > without) | (y.abs() > without)
    x, y = x[kept], y[kept]
    means = torch.stack([x + at, y, torch.full_like(x, z)], 1)
    colors = torch.tensor(color).repeat(len(x), 1)
    colors[:, 1] += 0.2 * x
    size = torch.tensor([STEP * 0.6, STEP * 0.6, 0.003]).log().repeat(len(x), 1)
    quats = torch.tensor([1.0, 0, 0, 0]).repeat(len(x), 1)
    return Splats(means, quats, size, torch.full((len(x),), 3.0), rgb_to_sh(colors)[:, None])


def cameras(angles, heights=(0.0,)):
    made = []
    for angle in angles:
        for height in heights:
            a = np.radians(angle)
            eye = torch.tensor([3 * np.sin(a), height, 3 * np.cos(a)], dtype=torch.float32)
            made.append(Cameras.look_at(eye, torch.zeros(3), torch.tensor([0.0, 1, 0]), 0.8, SIZE, SIZE))
    return Cameras.joined(made)


def seen(shot):
    return Views(shot, names=tuple(f"view_{i}" for i in range(len(shot))))


def wall_and_tile(at=0.0):
    """A wall with a hole behind a blue tile, which stands 0.1 in front of it."""
    wall = sheet(0.8, 0.0, (0.7, 0.4, 0.2), without=0.25)
    tile = sheet(0.4, 0.1, (0.1, 0.2, 0.8), at=at)
    splats = Splats.joined([wall, tile])
    return splats, torch.arange(len(splats)) >= len(wall)


def test_laplace_gives_a_plane_back_and_walls_let_nothing_through():
    y, x = np.mgrid[:20, :30]
    plane = torch.tensor(0.3 * x - 0.1 * y + 2.0)[..., None]
    wanted = torch.zeros(20, 30, dtype=torch.bool)
    wanted[5:15, 8:20] = True
    known = ~wanted
    found = harmonic(torch.where(known[..., None], plane, torch.nan).nan_to_num(0), known, wanted)
    assert torch.allclose(found, plane, atol=1e-6)
    # open to the left alone: the value from there goes on unchanged
    left = torch.zeros_like(known)
    left[5:15, 7] = True
    flat = harmonic(torch.full((20, 30, 1), 4.0), left, wanted)
    assert torch.allclose(flat[wanted], torch.tensor(4.0), atol=1e-4)
    assert torch.allclose(
        harmonic(plane, torch.zeros_like(known), wanted)[wanted], torch.tensor(0.0, dtype=torch.double)
    )


def test_the_wall_behind_a_part_is_closed_in_its_colour():
    splats, tile = wall_and_tile()
    filling = fill_behind(splats, tile, seen(cameras((-20, 0, 20))))
    assert len(filling.splats) > 100 and not tile[filling.parent].any()
    assert filling.splats.means[:, 2].abs().max() < 0.02 and filling.splats.means[:, :2].abs().max() < 0.33
    model = PartEdit.removing(splats, tile, filling.splats, filling.parent)
    after = model.row_edit().applied_to(splats)
    assert rows_changed(splats, after, tile) == 0 and len(after) == int((~tile).sum()) + len(filling.splats)
    held_out = cameras((-10, 12), heights=(-0.5, 0.4))
    truth = sheet(0.8, 0.0, (0.7, 0.4, 0.2))
    for i in range(len(held_out)):
        wanted, found = (render(cloud, held_out[i]) for cloud in (truth, after))
        assert (wanted.colors - found.colors).abs().max() < 0.12
        assert (wanted.colors - found.colors).abs().mean() < 0.01
        bare = render(splats.rows(~tile), held_out[i])
        assert (wanted.colors - bare.colors).abs().max() > 0.4


def test_what_the_user_painted_is_the_colour_behind():
    splats, tile = wall_and_tile()
    views = seen(cameras((0, 20)))
    green = torch.tensor([0.1, 0.9, 0.3]).expand(SIZE, SIZE, 3)
    filling = fill_behind(splats, tile, views, pictures={"view_1": green})
    assert filling.views is not None and filling.views.names[0] == "view_1"
    assert torch.allclose(filling.splats.sh[0, 0], rgb_to_sh(green)[0, 0], atol=1e-5)
    after = Splats.joined([splats.rows(~tile), filling.splats])
    middle = render(after, views.cameras[0]).colors[0, SIZE // 2, SIZE // 2]
    assert torch.allclose(middle, green[0, 0], atol=0.08)


def test_a_part_before_the_air_leaves_air():
    splats, tile = wall_and_tile(at=1.5)
    views = seen(cameras((-20, 0, 20)))
    masks = part_views(splats, views.cameras, tile).masks
    assert masks is not None and masks.any()
    filling = fill_behind(splats, tile, views)
    assert len(filling.splats) == 0 and filling.views is None and filling.parent.shape == (0,)


def test_where_cameras_saw_through_nothing_is_put():
    """A tile before the gap between two walls, through which other cameras look."""
    walls = [sheet(0.3, 0.0, (0.7, 0.4, 0.2), at=at) for at in (-0.55, 0.55)]
    tile = sheet(0.3, 0.5, (0.1, 0.2, 0.8))
    splats = Splats.joined([*walls, tile])
    chosen = torch.arange(len(splats)) >= len(splats) - len(tile)
    front = fill_behind(splats, chosen, seen(cameras((0,))))
    assert len(front.splats) > 50
    around = fill_behind(splats, chosen, seen(cameras((0, -60, -50, -40, 40, 50, 60))))
    assert len(around.splats) < 0.1 * len(front.splats)


def test_what_is_in_front_of_a_part_says_nothing_of_what_is_behind():
    splats, tile = wall_and_tile()
    front = sheet(0.12, 0.6, (0.0, 0.9, 0.0))
    both = Splats.joined([splats, front])
    chosen = torch.cat([tile, torch.zeros(len(front), dtype=torch.bool)])
    filling = fill_behind(both, chosen, seen(cameras((0,))))
    assert len(filling.splats) > 30 and filling.splats.means[:, 2].abs().max() < 0.02


def test_views_outvote_a_surface_that_they_do_not_guess():
    """One camera guesses a wall at depth 3, as others may; or the air, or a wall elsewhere."""
    shots = cameras((0, 0, 0))
    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    mask[:, 20:40, 20:40] = True

    def guess(depth):
        return Views(shots[0], masks=mask, depths=mask * depth)

    points = unproject(shots[0], mask * 3.0)[0]
    same, air, elsewhere = guess(3.03), guess(0.0), guess(3.3)
    inside = mask[0]
    for others, wanted in (
        ([], True),
        ([same], True),
        ([same, air], True),
        ([air], False),
        ([elsewhere], False),
        ([same, air, elsewhere], False),
    ):
        assert bool(agreed(points, others)[inside].all()) == wanted
