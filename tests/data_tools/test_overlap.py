"""--views on photos spread along a street: those that overlap, unless the ones at even distances do."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, read_dataset
from gs_reg.data_tools.overlap import overlapping, shares_of_points, shares_of_tracks
from gs_reg.data_tools.split import evenly
from gs_reg.types import Cameras
from tests.data_tools.photosets import shoot, write_transforms

F, W, H = 15.0, 16, 12
WALL = 4.0
WIDE = W / F * WALL
"""Of the wall, what a photo shows."""


def street(root, places, turned=(), tracks=True):
    """Photos of a wall along x, from `places`; those `turned` show the one behind. Text models, with points on both."""
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-9, 99, 6000), rng.uniform(-1, 1, 6000), np.repeat([WALL, -WALL], 3000)]
    model = root / "sparse" / "0"
    model.mkdir(parents=True)
    (root / "images").mkdir()
    lines = []
    for i, x in enumerate(places):
        side = -1.0 if i in turned else 1.0
        local = (points - (x, 0, 0)) * (side, 1, side)
        xy = local[:, :2] / local[:, 2:] * F + (W / 2, H / 2)
        seen = np.flatnonzero((local[:, 2] > 0) & (xy >= 0).all(1) & (xy < (W, H)).all(1)) if tracks else []
        pose = f"0 0 1 0 {x} 0 0" if i in turned else f"1 0 0 0 {-x} 0 0"
        lines += [f"{i + 1} {pose} 1 {i:02d}.png", " ".join(f"{xy[p, 0]} {xy[p, 1]} {p + 1}" for p in seen)]
        Image.new("RGB", (W, H)).save(root / "images" / f"{i:02d}.png")
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "cameras.txt").write_text(f"1 PINHOLE {W} {H} {F} {F} {W / 2} {H / 2}\n")
    rows = [f"{i + 1} {' '.join(map(str, p))} 9 9 9 0.5" for i, p in enumerate(points)]
    (model / "points3D.txt").write_text("\n".join(rows) + "\n")
    return root


def note(dataset) -> list[str]:
    return [text for text in dataset.notes if text.startswith("views:")]


@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("views", [2, 3, 5])
def test_along_a_street(tmp_path, tracks, views):
    """Photos 1.4 apart show 4.3 of the wall: neighbours share 67 %, the next 34 %, then 1 %, and others nothing."""
    root = street(tmp_path, [1.4 * i for i in range(9)], tracks=tracks)
    dataset = read_dataset(root, ReadConfig(views=views))
    chosen = [int(name[:2]) for name in dataset.train]
    if views == 5:  # 0 2 4 6 8
        assert chosen == [0, 2, 4, 6, 8] and not note(dataset)
        return
    assert len(chosen) == views and set(np.diff(chosen)) == {2}, "as far as their overlap permits"
    (text,) = note(dataset)
    assert "00.png" in text and f"took {views} that overlap: {', '.join(dataset.train)}" in text


@pytest.mark.parametrize("tracks", [True, False])
def test_photos_that_look_the_same_way(tmp_path, tracks):
    """Every second photo shows the other side of the street."""
    root = street(tmp_path, [0.7 * i for i in range(12)], turned=range(1, 12, 2), tracks=tracks)
    dataset = read_dataset(root, ReadConfig(views=3))
    chosen = [int(name[:2]) for name in dataset.train]
    assert evenly([f.name for f in dataset.frames if f.name not in dataset.test], 3) != dataset.train
    assert len({i % 2 for i in chosen}) == 1 and max(np.diff(chosen)) <= 4


@pytest.mark.parametrize("tracks", [True, False])
def test_fewer_where_no_more_overlap(tmp_path, tracks):
    root = street(tmp_path, [0, 20, 40, 41, 60, 80], tracks=tracks)
    dataset = read_dataset(root, ReadConfig(views=3))
    assert dataset.train == ("02.png", "03.png")
    assert "took 2 that overlap, as no 3 photos do: 02.png, 03.png" in note(dataset)[0]


@pytest.mark.parametrize("tracks", [True, False])
def test_those_at_even_distances_where_they_overlap_or_none_do(tmp_path, tracks):
    near = read_dataset(street(tmp_path / "near", [0.3 * i for i in range(9)], tracks=tracks), ReadConfig(views=3))
    assert near.train == ("00.png", "04.png", "08.png") and not note(near)
    far = read_dataset(street(tmp_path / "far", [20 * i for i in range(5)], tracks=tracks), ReadConfig(views=3))
    assert far.train == ("00.png", "02.png", "04.png") and not note(far)


def test_named_photos_and_held_out_ones_stay(tmp_path):
    root = street(tmp_path, [1.4 * i for i in range(12)])
    dataset = read_dataset(root, ReadConfig(train=("0", "11")))
    assert dataset.train == ("00.png", "11.png") and not note(dataset)
    dataset = read_dataset(root, ReadConfig(views=3, test=("5",)))
    assert dataset.test == ("05.png",) and "05.png" not in dataset.train and len(note(dataset)) == 1


def test_without_points_the_choice_is_even():
    pool = [f"{i}" for i in range(9)]
    assert overlapping(("0", "4", "8"), pool, lambda names: None) == (("0", "4", "8"), "")


def test_shares_of_tracks_by_hand():
    """10 of a's 20 are among b's 12; c sees nothing, d 7 of a's, which are too few."""
    tracks = {"a": np.arange(20), "b": np.arange(10, 22), "d": np.arange(7), "c": np.arange(0)}
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 10 / 12
    np.testing.assert_allclose(shares_of_tracks(tracks, "abcd"), expected)
    assert not shares_of_tracks(tracks, "cc").any()


def test_chains_by_hand():
    """a-b 0.5, b-c 0.4, c-d 0.1: three of 0.3 or more are a, b, c; four need 0.1."""
    shares = np.zeros((4, 4))
    for (i, j), share in zip(((0, 1), (1, 2), (2, 3)), (0.5, 0.4, 0.1), strict=True):
        shares[i, j] = shares[j, i] = share
    for even, taken in ((("a", "c", "d"), "abc"), (("a", "d"), "bc")):
        assert overlapping(even, "abcd", lambda names: shares)[0] == tuple(taken)
    for even in itertools.permutations("abcd"):
        assert overlapping(even, "abcd", lambda names: shares) == (even, "")


def test_shares_of_points_by_hand(tmp_path):
    """Of 40 points on a line across, a camera at 0 sees 20, one a little aside 15 of these, one behind them others."""
    x = np.arange(40) * 0.1 - 0.95
    points = np.stack([x, np.zeros(40), np.full(40, 4.0)], 1)
    K = torch.tensor([[40.0, 0, 10], [0, 40, 10], [0, 0, 1]])
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[1, 0, 3] = -0.5  # half a unit to the right
    poses[2, :3] = torch.tensor([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 8]])  # from the other side
    root = write_transforms(tmp_path, shoot(2))
    frame = read_dataset(root).frames[0]
    frames = [
        dataclasses.replace(frame, camera=Cameras(p[None], K[None], 20, 20).to(dtype=torch.float64)) for p in poses
    ]
    shares = shares_of_points(points, frames)
    np.testing.assert_allclose(shares, [[0, 0.75, 0], [0.75, 0, 0], [0, 0, 0]])
