"""The decision: twelve parts, flips, islands, Gaussians that no view shows, softness, masks; and the label file."""

import dataclasses

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.parts.decision import DecisionConfig, decide, masks
from gs_reg.parts.store import load_labels, mean_iou_3d, part_iou_2d, part_iou_3d, save_labels
from gs_reg.parts.types import Decision, LabelField
from gs_reg.sh import C0
from gs_reg.types import Cameras, Splats

NAMES = ("background", *(f"part {i}" for i in range(12)))


def wall(rows=24, columns=48):
    """A flat grid of splats that two cameras look at from the front, and strips of it as parts."""
    y, x = torch.meshgrid(torch.linspace(-0.5, 0.5, rows), torch.linspace(-1, 1, columns), indexing="ij")
    count = rows * columns
    means = torch.stack([x.flatten(), y.flatten(), torch.zeros(count)], 1)
    splats = Splats(
        means,
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count, 3), -4.0),
        torch.full((count,), 3.0),
        torch.zeros(count, 1, 3),
    )
    up, middle = torch.tensor([0.0, 1, 0]), torch.zeros(3)
    eyes = torch.tensor([[0.5, 0, 2.0], [-0.5, 0, 2.0]])
    return splats, Cameras.joined([Cameras.look_at(eye, middle, up, 1.0, 96, 64) for eye in eyes])


def field_of(ids, labels):
    sh = torch.zeros(len(ids), 4, labels)
    sh[torch.arange(len(ids)), 0, ids] = 1 / C0
    return LabelField(NAMES[:labels], sh, torch.ones(len(ids)))


def test_twelve_parts_are_told_apart():
    splats, cameras = wall()
    truth = (torch.arange(len(splats)) % 48) // 4 + 1
    decision = decide(splats, cameras, field_of(truth, 13))
    assert min(part_iou_3d(decision, truth).values()) == 1
    shown = masks(splats, cameras, decision.part("part 0"))
    assert shown.shape == (2, 64, 96) and 0.02 < shown.float().mean() < 0.12
    ids = sum(part * masks(splats, cameras, truth == part).long() for part in range(1, 13))
    assert min(part_iou_2d(splats, cameras, decision, ids).values()) > 0.95


def test_islands_and_lone_flips_go_to_what_is_around_them():
    splats, cameras = wall()
    truth = torch.where(splats.means[:, 0] < 0, 1, 2)
    wrong = truth.clone()
    inside = (splats.means[:, :2] - torch.tensor([-0.5, 0.0])).norm(dim=1) < 0.1
    wrong[inside], wrong[700] = 2, 1
    assert 4 < inside.sum() < 20
    mended = decide(splats, cameras, field_of(wrong, 3))
    assert (mended.ids[inside] == 1).all() and mended.ids[700] == 2
    kept = decide(splats, cameras, field_of(wrong, 3), DecisionConfig(island=1, island_share=0))
    assert (kept.ids[inside] == 2).any()


def test_a_flip_in_one_view_of_two_does_not_outvote_the_neighbours():
    splats, cameras = wall()
    field = field_of(torch.ones(len(splats), dtype=torch.long), 3)
    sh = field.sh.clone()
    sh[500, :, :] = 0
    sh[500, 0, 1:] = 0.5 / C0
    sh[500, 3, 1:] = torch.tensor([1.0, -1.0])  # part 0 from one side, part 1 from the other
    decision = decide(splats, cameras, dataclasses.replace(field, sh=sh))
    assert decision.ids[500] == 1
    assert decision.softness[500] > 100 * decision.softness[[100, 300, 900]].max()


def test_what_no_view_shows_takes_after_its_neighbours():
    splats, cameras = wall()
    field = field_of(torch.full((len(splats),), 2), 3)
    sh, seen = field.sh.clone(), field.seen.clone()
    sh[600], seen[600] = 0, 0
    decision = decide(splats, cameras, LabelField(field.names, sh, seen))
    assert decision.ids[600] == 2
    nothing = decide(splats, cameras, LabelField(field.names, sh, torch.zeros_like(seen)))
    assert not nothing.ids.any()


def test_two_splats_are_enough():
    splats, cameras = wall()
    few = splats.rows(torch.tensor([500, 900]))
    config = DecisionConfig(island=1)
    assert decide(few, cameras, field_of(torch.tensor([1, 1]), 3), config).ids.tolist() == [1, 1]
    assert decide(few.rows(slice(1)), cameras, field_of(torch.tensor([2]), 3), config).ids.tolist() == [2]


def test_labels_come_back(tmp_path):
    path = tmp_path / "labels.npz"
    field = LabelField(("background", "a"), torch.rand(5, 4, 2), torch.rand(5))
    decision = Decision(field.names, torch.tensor([0, 1, 1, 0, 1]), torch.rand(5, 2), torch.rand(5))
    save_labels(path, field, decision)
    again, decided = load_labels(path)
    assert again.names == decided.names == field.names
    assert torch.equal(again.sh, field.sh) and torch.equal(again.seen, field.seen)
    for name in ("ids", "probabilities", "softness"):
        assert torch.equal(getattr(decided, name), getattr(decision, name))
    known = dict(np.load(path))
    np.savez(path, **known | {"ids": known["ids"] + 1})
    with pytest.raises(InputError, match=r"labels\.npz: expected softness and seen of 5 Gaussians and ids below 2"):
        load_labels(path)
    np.savez(path, **known | {"probabilities": known["probabilities"][:4]})
    with pytest.raises(InputError, match="2 labels of 5 Gaussians"):
        load_labels(path)
    path.write_text("no")
    with pytest.raises(InputError, match="expected labels as npz"):
        load_labels(path)


def test_parts_that_nobody_has_have_no_iou():
    decision = Decision(("background", "a", "b"), torch.tensor([0, 1, 1]), torch.rand(3, 3), torch.zeros(3))
    assert part_iou_3d(decision, torch.tensor([1, 1, 0])) == {"a": pytest.approx(1 / 3), "b": None}
    shown = torch.tensor([False, True, True])
    assert part_iou_3d(decision, torch.tensor([1, 1, 2]), shown) == {"a": 0.5, "b": 0}
    assert mean_iou_3d(decision, torch.tensor([1, 1, 2]), shown) == 0.25
    assert mean_iou_3d(decision, torch.tensor([1, 1, 0]), shown) == 0.5  # nobody has b: it does not count
