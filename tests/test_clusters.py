"""Density control by clusters of expressions: what one cluster alone shows grows, within a cap."""

from dataclasses import replace

import pytest
import torch

from gs_reg.densify import DensityControl, Observation
from gs_reg.densify.clusters import ClusterConfig, ClusterControl, balanced_frame, cluster_codes
from gs_reg.errors import InputError
from gs_reg.optim import OptimConfig
from gs_reg.rotations import quat_to_rotmat
from gs_reg.state import State
from gs_reg.types import Cameras, Render, Splats
from tests.models.avatars import rig, toy_avatar

COUNT, SIZE = 60, (40, 30)
CONFIG = ClusterConfig(start=0.0, stop=1.0, every=64, cap=80, score=1e-2)
CLUSTERS = torch.arange(8)
PATCH = torch.arange(COUNT) < 10


def some_splats(scale=0.003):
    random = torch.Generator().manual_seed(0)
    draw = [torch.randn(COUNT, n, generator=random) for n in (3, 4, 3)]
    sizes = torch.full((COUNT, 3), scale).log() + 0.01 * draw[2]
    return Splats(0.1 * draw[0], draw[1], sizes, torch.zeros(COUNT), torch.zeros(COUNT, 1, 3))


def covariances(splats):
    half = quat_to_rotmat(splats.quats) * splats.scales[:, None]
    return half @ half.mT


def camera():
    eye, up = torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 1, 0])
    return Cameras.look_at(eye, torch.zeros(3), up, 0.6, *SIZE)


def picture(gradients, radii=None):
    """A drawing by one camera with these absolute gradients, in units of half the image."""
    means2d = torch.zeros(1, COUNT, 2, requires_grad=True)
    means2d.absgrad = torch.stack([gradients / (SIZE[0] / 2), torch.zeros(COUNT)], 1)[None]
    radii = torch.ones(1, COUNT, 2, dtype=torch.int32) if radii is None else radii
    empty = torch.zeros(1, *SIZE[::-1], 3)
    return Render(empty, empty[..., :1], empty[..., :1], None, means2d, radii)


def observed(control, splats, steps, gradients_of, radii_of=lambda step: None, total=64):
    """The edit of the last step; `gradients_of(step)` are those of each row."""
    edit = None
    for step in range(steps):
        image = picture(gradients_of(step), radii_of(step))
        control.step_pre_backward(image, splats, camera())
        edit = control.step_post_backward(Observation(step, total, splats, image, SIZE, 1.0, frame=step % 8))
    return edit


def in_one_cluster(step):
    return torch.where(PATCH & (step % 8 == 3), 0.02, 1e-4)


def test_what_one_cluster_shows_grows_here_and_not_by_mean_scores():
    splats = some_splats()
    control = ClusterControl(CONFIG, CLUSTERS)
    assert isinstance(control, DensityControl) and control.absgrad
    edit = observed(control, splats, 64, in_one_cluster)
    assert edit is not None and len(edit.rows) == COUNT + 10
    assert edit.rows[edit.fresh].sort().values.tolist() == list(range(10))
    assert observed(ClusterControl(CONFIG, torch.zeros(8, dtype=torch.long)), splats, 64, in_one_cluster) is None


def test_small_ones_are_cloned_and_both_are_as_opaque_as_one_was():
    small = some_splats(0.003)
    cloned = observed(ClusterControl(CONFIG, CLUSTERS), small, 64, in_one_cluster)
    torch.testing.assert_close(cloned.patch["means"], small.means[cloned.rows])
    torch.testing.assert_close(cloned.patch["log_scales"], small.log_scales[cloned.rows])
    clear, before = 1 - cloned.patch["opacity_logits"].sigmoid(), 1 - small.opacities[cloned.rows]
    twins = PATCH[cloned.rows]
    torch.testing.assert_close(clear, torch.where(twins, before.sqrt(), before))
    assert int(twins.sum()) == 20 == 2 * int(cloned.fresh.sum())


def test_large_ones_are_split_along_their_longest_axis_into_the_same_spread():
    large = some_splats(0.006)
    large.log_scales[:, 1] += 0.5
    split = observed(ClusterControl(CONFIG, CLUSTERS), large, 64, in_one_cluster)
    halves, before = PATCH[split.rows], large.rows(split.rows)
    assert int(halves.sum()) == 20 and torch.equal(split.fresh, halves)
    shrunk = (before.log_scales - split.patch["log_scales"]).exp()[halves]
    torch.testing.assert_close(shrunk, torch.tensor([1.0, 1.6, 1.0]).expand(20, 3))
    after = replace(before, means=split.patch["means"], log_scales=split.patch["log_scales"])
    moved = (after.means - before.means)[~halves]
    assert not moved.any() and torch.equal(after.opacity_logits, before.opacity_logits)
    for row in range(10):
        pair = (split.rows == row).nonzero()[:, 0]
        mean = after.means[pair].mean(0)
        apart = after.means[pair] - mean
        spread = covariances(after)[pair].mean(0) + apart.T @ apart / 2
        torch.testing.assert_close(mean, large.means[row])
        torch.testing.assert_close(spread, covariances(large)[row], rtol=1e-3, atol=1e-8)


def test_discs_are_split_along_either_axis_by_seed_alone():
    discs = some_splats(0.006)
    discs.log_scales[:, 2] -= 1
    first, again, other = (observed(ClusterControl(CONFIG, CLUSTERS, s), discs, 64, in_one_cluster) for s in (0, 0, 1))
    axes = (discs.log_scales[first.rows] - first.patch["log_scales"])[PATCH[first.rows]].argmax(1)
    assert set(axes.tolist()) == {0, 1}
    assert torch.equal(again.patch["means"], first.patch["means"])
    assert not torch.equal(other.patch["means"], first.patch["means"])


def test_the_number_follows_the_curve_and_never_passes_the_cap():
    def all_want(step):
        return torch.linspace(0.02, 0.04, COUNT)

    splats, curve = some_splats(), replace(CONFIG, cap=100)
    early = observed(ClusterControl(curve, CLUSTERS), splats, 64, all_want, total=150)
    assert len(early.rows) == 75 > 100 * 64 / 150  # fast at first
    assert early.rows[early.fresh].min() >= COUNT - 15
    late = observed(ClusterControl(curve, CLUSTERS), splats, 64, all_want)
    assert len(late.rows) == 100
    assert observed(ClusterControl(replace(CONFIG, cap=COUNT), CLUSTERS), splats, 64, all_want) is None
    assert observed(ClusterControl(replace(CONFIG, cap=30), CLUSTERS), splats, 64, all_want) is None


def test_at_the_cap_the_idlest_make_room():
    control = ClusterControl(replace(CONFIG, cap=COUNT, recycle=0.05), CLUSTERS)
    splats = some_splats()
    splats = replace(splats, opacity_logits=torch.linspace(3, -3, COUNT))
    edit = observed(control, splats, 64, in_one_cluster)
    assert len(edit.rows) == COUNT and int(edit.fresh.sum()) == 3
    left_out = set(range(COUNT)) - set(edit.rows.tolist())
    assert len(left_out) == 3 and min(left_out) >= 10


def test_what_nobody_sees_goes_once_every_cluster_was_drawn():
    splats = some_splats()
    splats.log_scales[20] = 0.0
    splats.opacity_logits[30] = -9.0
    calm = torch.zeros(COUNT)
    radii = torch.ones(1, COUNT, 2, dtype=torch.int32)
    radii[:, 40] = 0
    edit = observed(ClusterControl(CONFIG, CLUSTERS), splats, 64, lambda step: calm, lambda step: radii)
    left_out = set(range(COUNT)) - set(edit.rows.tolist())
    assert {20, 30, 40} <= left_out
    few = observed(ClusterControl(replace(CONFIG, every=32), CLUSTERS), splats, 32, lambda s: calm, lambda s: radii)
    assert set(range(COUNT)) - set(few.rows.tolist()) == {20}  # no cluster has its 8 views yet
    nothing = replace(splats, log_scales=torch.zeros(COUNT, 3))
    assert observed(ClusterControl(CONFIG, CLUSTERS), nothing, 64, lambda step: calm) is None


def test_it_goes_on_from_a_checkpoint_to_the_same_edit():
    splats, whole, before, after = some_splats(0.006), *(ClusterControl(CONFIG, CLUSTERS) for _ in range(3))
    want = observed(whole, splats, 64, in_one_cluster)
    for step in range(64):
        if step == 37:
            after.load({name: value.clone() for name, value in before.tensors().items()})
        image = picture(in_one_cluster(step))
        control = before if step < 37 else after
        control.step_pre_backward(image, splats, camera())
        edit = control.step_post_backward(Observation(step, 64, splats, image, SIZE, 1.0, frame=step % 8))
    assert torch.equal(edit.rows, want.rows) and torch.equal(edit.patch["means"], want.patch["means"])
    with pytest.raises(InputError, match="expected a column for each of 3 clusters"):
        ClusterControl(CONFIG, torch.arange(3)).load(before.tensors())
    with pytest.raises(InputError, match="expected steps and gradients"):
        whole.load({"scale": torch.ones(1)})


def test_children_have_their_parents_latent_and_gates_and_no_moments():
    avatar = toy_avatar()
    state = State.begin(avatar, OptimConfig(selective=True))
    sum(p.sin().sum() for p in avatar.parameters()).backward()
    state.optimizer.step(0, 10, {"gaussians": torch.ones(600, dtype=torch.bool)})
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    sums = {name: torch.ones(600, 1) for name in ("gradients", "views", "largest")}
    sums |= {"weights": torch.ones(600), "drawn": torch.full((1,), 99.0)}
    sums["gradients"][:50] = 99.0
    sums["views"] *= 9
    control = ClusterControl(
        ClusterConfig(start=0, stop=1, every=10, score=1.0, prune_scale=1), torch.zeros(7, dtype=torch.long)
    )
    control.load(sums | {"steps": torch.tensor(1)})
    radii = torch.ones(1, 600, 2, dtype=torch.int32)
    empty = torch.zeros(1, 48, 48, 3)
    image = Render(empty, empty[..., :1], empty[..., :1], None, torch.zeros(1, 600, 2), radii)
    edit = control.step_post_backward(Observation(9, 10, avatar.canonical().detach(), image, (48, 48), 1.0, frame=2))
    state.apply(edit)
    assert len(avatar.means) == 650 and int(edit.fresh.sum()) >= 50
    for name in ("gate_logits", "dc", "sh_rest", "part", "distilled_latent", "moving"):
        assert torch.equal(getattr(avatar, name), before[name][edit.rows]), name
    difference = avatar.latent.detach() - before["latent"][edit.rows]
    assert not difference[~edit.fresh].any() and float(difference[edit.fresh].std()) == pytest.approx(0.01, rel=0.2)
    for name in ("latent", "gate_logits", "means"):
        moments = state.optimizer.tensors()[name][0]
        assert not moments["exp_avg"][edit.fresh].any() and moments["exp_avg"][~edit.fresh].any()
        assert not moments["row_steps"][edit.fresh].any() and moments["row_steps"][~edit.fresh].all()
    graph = avatar.graph()
    assert len(graph) == 650 and avatar.neighbors.max() < 650
    steps = (avatar.means[1:] - avatar.means[:-1]).norm(dim=1).mean()
    mixed = avatar.means[torch.randperm(650, generator=torch.Generator().manual_seed(0))]
    assert steps < 0.5 * (mixed[1:] - mixed[:-1]).norm(dim=1).mean()  # neighbours in memory are neighbours in space


def test_a_frame_without_a_cluster():
    control, image = ClusterControl(CONFIG, CLUSTERS), picture(torch.zeros(COUNT))
    with pytest.raises(ValueError, match="frame: expected 0 to 7, which have clusters, got None"):
        control.step_post_backward(Observation(0, 64, some_splats(), image, SIZE, 1.0))


def test_weights_are_measured_where_the_cameras_see_the_head():
    avatar = toy_avatar()
    control = ClusterControl(ClusterConfig(weigh_every=1), torch.zeros(7, dtype=torch.long))
    image = picture(torch.zeros(COUNT))
    solid = replace(avatar.canonical(), opacity_logits=torch.full((600,), 5.0))
    control.step_pre_backward(image, solid, rig().moved(avatar.pose(0)))
    largest, weights = control._weighed
    front = avatar.means[:, 2] > 0.2
    assert largest[front].median() > 0.01 > largest[avatar.means[:, 2] < -0.3].median()
    assert (weights >= largest * 0.999).all()


def test_clusters_of_codes():
    random = torch.Generator().manual_seed(0)
    centers = torch.tensor([[0.0, 0], [4, 0], [0, 40]])
    codes = torch.cat(
        [center + 0.1 * torch.randn(20, 2, generator=random) * torch.tensor([1, 10]) for center in centers]
    )
    found = cluster_codes(codes, 3)
    assert [len(found[20 * k : 20 * k + 20].unique()) for k in range(3)] == [1, 1, 1] and len(found.unique()) == 3
    assert torch.equal(found, cluster_codes(codes, 3))
    assert cluster_codes(torch.zeros(5, 4), 8).tolist() == [0] * 5
    assert cluster_codes(codes[:1], 8).tolist() == [0]
    codes[7, 1] = torch.nan
    with pytest.raises(InputError, match="codes: frame 7 has a value that is not finite"):
        cluster_codes(codes)


def test_frames_of_rare_clusters_come_more_often():
    frames, clusters = torch.arange(100, 200), (torch.arange(100) < 4).long()
    drawn = torch.tensor([balanced_frame(step, frames, clusters) for step in range(2000)])
    assert 0.2 < float((drawn < 104).float().mean()) < 0.34 and drawn.min() >= 100 and drawn.max() < 200
    assert [balanced_frame(step, frames, clusters) for step in range(20)] == drawn[:20].tolist()
    assert [balanced_frame(step, frames, clusters, 1) for step in range(20)] != drawn[:20].tolist()


@pytest.mark.parametrize("values", [{"every": 0}, {"cap": 0}, {"start": 0.7}, {"stop": 1.5}])
def test_settings_that_mean_nothing(values):
    with pytest.raises(InputError, match=f"{next(iter(values))}.*: expected"):
        ClusterConfig(**values)
