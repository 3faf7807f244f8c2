"""Only the rows of the part are trained, within their bounds; a run can go on from a checkpoint to the same bits."""

from dataclasses import replace

import pytest
import torch

from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.data_tools.synthetic.objects.colors import NAMES, Paint
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import photos_of, splats_of
from gs_reg.densify import DensifyConfig, density_control
from gs_reg.densify.part import PartDensity
from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.fit import FitConfig, fit
from gs_reg.io import load_splats, save_splats
from gs_reg.io.rows import read_rows, undo_edit, write_edited
from gs_reg.models.free import Free, FreeConfig
from gs_reg.models.part_edit import PartEdit, PartEditConfig
from gs_reg.neighbors import nearest
from gs_reg.optim import OptimConfig
from gs_reg.parts.locality import rows_changed
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
from gs_reg.terms.photometric import L1

MUG = make_object("mug", 1)
HANDLE = MUG.parts.index("handle")
BEFORE = Paint((NAMES.index("blue"), NAMES.index("red"), NAMES.index("yellow")), (0, 0, 0))
SHAPE = PartEditConfig(shape=True)
GROW = {
    "default": DensifyConfig("default", start=0.05, stop=1.0, every=5, grad=1e-6, split_scale=1e-3),
    "mcmc": DensifyConfig("mcmc", start=0.05, stop=1.0, every=5, noise=1e-3),
}


@pytest.fixture(scope="module")
def mug():
    """Gaussians of a mug, which of them are its handle, and photos of it with a green handle."""
    splats = splats_of(MUG, BEFORE, 500)
    splats = replace(
        splats, sh=splats.sh[:, :4] + 0.01 * torch.randn(len(splats), 4, 3, generator=torch.manual_seed(0))
    )
    views, parts = photos_of(MUG, BEFORE.changed(HANDLE, NAMES.index("green")), orbit(6, 32), background=0.0)
    masks = torch.from_numpy(parts == HANDLE + 1)
    return splats, splats.extra["part"] == HANDLE + 1, replace(views, masks=masks)


def run(model, views, steps, density=None, at=0):
    """Fits to the photos; returns the state."""
    control = None if density is None else PartDensity(density_control(GROW[density]))
    state = State.begin(model, OptimConfig(), control)
    for _ in train(state, views, steps):
        pass
    return state


def train(state, views, steps):
    return fit(state, lambda step: Shot(views[step % len(views)]), cost_of({"l1": L1(1.0)}), FitConfig(steps))


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("means", "quats", "log_scales", "sh"))


@pytest.mark.parametrize("neutral", [None, "grey", "white", "black"])
def test_it_starts_as_given_but_for_the_parts_colour(mug, neutral):
    splats, handle, _ = mug
    model = PartEdit.from_splats(splats, handle, neutral=neutral)
    made = model.row_edit().applied_to(splats)
    assert torch.equal(made.sh[~handle], splats.sh[~handle]) and torch.equal(made.means, splats.means)
    assert torch.equal(made.opacity_logits, splats.opacity_logits) and torch.equal(
        made.extra["part"], splats.extra["part"]
    )
    if neutral is None:
        assert torch.equal(made.sh, splats.sh)
    else:
        wanted = {"grey": 0.5, "white": 1.0, "black": 0.0}[neutral]
        torch.testing.assert_close(0.5 + 0.28209479 * made.sh[handle, 0], torch.full((int(handle.sum()), 3), wanted))
        assert not made.sh[handle, 1:].any()
    canonical = model.canonical()
    assert canonical.extra["edited"].tolist() == [0.0] * int((~handle).sum()) + [1.0] * int(handle.sum())


@pytest.mark.parametrize("density", [None, "default", "mcmc"])
def test_frozen_rows_are_the_same_bytes_after_coarse_and_fine(mug, density, tmp_path):
    splats, handle, views = mug
    save_splats(tmp_path / "scene.ply", splats)
    source = read_rows(tmp_path / "scene.ply", tmp_path / "x.ply")
    config = PartEditConfig() if density is None else SHAPE
    model = PartEdit.from_splats(source.splats, handle, config, neutral="grey")
    before = model.row_edit().splats
    run(model, views, 20, density)
    coarse = model.row_edit().splats
    run(model, views, 10, density)
    edit = model.row_edit()
    assert not same(coarse, before) and not same(edit.splats, coarse)
    assert rows_changed(source.splats, model.canonical(), handle) == 0
    counts = write_edited(tmp_path / "edited.ply", source, edit, tmp_path / "part.npz")
    assert counts.intact and counts.frozen == int((~handle).sum()) and counts.changed > 0
    assert (density is None) == (counts.added == 0)
    written = load_splats(tmp_path / "edited.ply")
    assert same(written, edit.applied_to(source.splats))
    undo_edit(tmp_path / "edited.ply", tmp_path / "part.npz", tmp_path / "back.ply")
    assert (tmp_path / "back.ply").read_bytes() == (tmp_path / "scene.ply").read_bytes()


def test_momentum_on_all_rows_would_be_seen(mug):
    """As in RoMaP's code: gradients of other rows are zeroed, but their Adam has moments of an earlier stage."""
    splats, handle, views = mug
    splats = replace(splats, extra={"filled": torch.ones(len(splats), dtype=torch.bool)})
    model = Free.from_splats(splats, FreeConfig())
    state = State.begin(model, OptimConfig())
    for _ in train(state, views, 2):
        pass
    start = model.canonical().detach().rows(torch.arange(len(splats)))
    for step in range(2, 5):
        state.optimizer.zero_grad()
        model.canonical().sh.sum().backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad[~handle] = 0
        state.optimizer.step(step, 5)
    frozen_first = torch.cat([(~handle).nonzero()[:, 0], handle.nonzero()[:, 0]])
    assert rows_changed(start, model.canonical().rows(frozen_first), handle) > 0


def test_without_shape_positions_stay_and_opacity_and_size_have_bounds(mug):
    splats, handle, _ = mug
    model = PartEdit.from_splats(splats, handle)
    assert "means" not in dict(model.named_parameters())
    with torch.no_grad():
        model.opacity_logits.fill_(-9)
        model.log_scales.fill_(3)
    model.constrain()
    torch.testing.assert_close(model.opacity_logits.sigmoid(), splats.opacities[handle] / 2)
    torch.testing.assert_close(model.log_scales.exp(), splats.scales[handle] * 1.25)


def test_with_shape_positions_stay_within_reach_and_opacity_is_free(mug):
    splats, handle, _ = mug
    model = PartEdit.from_splats(splats, handle, SHAPE)
    part = splats.means[handle]
    radius = (part - part.median(0).values).norm(dim=1).max()
    with torch.no_grad():
        model.opacity_logits.fill_(-9)
        model.means[3] += torch.tensor([5.0, 0, 0])
        model.means[4] += torch.tensor([1e-4, 0, 0])
    model.constrain()
    moved = (model.means - part).norm(dim=1)
    assert 0.1 * radius < moved[3] <= 0.25 * radius and 5e-5 < moved[4] < 2e-4
    assert not moved[5:].any() and (model.opacity_logits == -9).all()


def test_children_are_held_near_and_know_their_parents(mug):
    splats, handle, _ = mug
    model = PartEdit.from_splats(splats, handle, SHAPE)
    count = int(handle.sum())
    rows = torch.tensor([*range(1, count), 4, 4])
    means = model.means.detach()[rows].clone()
    means[-1] += 9.0
    model.edit(Edit(rows, None, {"means": means}, axis="part"))
    edit, owned = model.row_edit(), handle.nonzero()[:, 0]
    assert torch.equal(edit.origin, torch.cat([owned[1:], torch.tensor([-1, -1])]))
    assert edit.parent[-2:].tolist() == [owned[4]] * 2
    distances = nearest(splats.means[handle], 1, edit.splats.means)[1][:, 0].sqrt()
    assert 0 < distances[-1] <= model.reach and not distances[:-1].any()
    after = edit.applied_to(splats)
    assert (after.extra["part"][-2:] == HANDLE + 1).all() and len(after) == len(splats) + 1


def test_edits_of_all_rows_and_of_none_are_refused(mug):
    splats, handle, views = mug
    model = PartEdit.from_splats(splats, handle, SHAPE)
    with pytest.raises(ValueError, match="wrap the density control"):
        model.edit(Edit(torch.arange(3)))
    with pytest.raises(ValueError, match="no Gaussian of the part"):
        model.edit(Edit(torch.arange(0), axis="part"))
    model.edit(Edit(torch.arange(0), axis="frames"))
    assert len(model.canonical()) == len(splats)
    state = State.begin(model, OptimConfig(), density_control(GROW["mcmc"]))
    with pytest.raises(ValueError, match="wrap the density control"):
        list(train(state, views, 5))


@pytest.mark.parametrize("density", [None, "default", "mcmc"])
def test_a_run_goes_on_to_the_same_bits(mug, density):
    splats, handle, views = mug
    config = PartEditConfig() if density is None else SHAPE

    def begun():
        control = None if density is None else PartDensity(density_control(GROW[density]))
        return State.begin(PartEdit.from_splats(splats, handle, config, "grey"), OptimConfig(), control)

    whole = begun()
    for _ in train(whole, views, 14):
        pass
    first = begun()
    for step in train(first, views, 14):
        if step.number == 7:
            break
    saved = {k: {n: v.clone() for n, v in t.items()} if k == "model" else t for k, t in first.tensors().items()}
    model = PartEdit(splats, saved["model"], config)
    second = State.begin(model, OptimConfig(), None if density is None else PartDensity(density_control(GROW[density])))
    second.load(saved, 8)
    for _ in train(second, views, 14):
        pass
    a, b = whole.model.state_dict(), second.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert not any(name.startswith("frozen") for name in a)


def test_a_part_that_is_removed_leaves_only_what_is_behind(mug):
    splats, handle, views = mug
    behind = splats.rows(torch.tensor([0, 1])) if not handle[:2].any() else splats.rows((~handle).nonzero()[:2, 0])
    parent = (~handle).nonzero()[:2, 0]
    model = PartEdit.removing(splats, handle, replace(behind, means=behind.means + 0.1), parent)
    run(model, views, 3)
    edit = model.row_edit()
    assert edit.origin.tolist() == [-1, -1] and len(model.canonical()) == int((~handle).sum()) + 2
    after = edit.applied_to(splats)
    assert same(after.rows(slice(-2)), splats.rows(~handle)) and not same(after.rows(slice(-2, None)), behind)
    assert torch.equal(after.extra["part"][-2:], splats.extra["part"][parent])


def test_a_users_mistakes():
    splats = splats_of(MUG, BEFORE, 100)
    with pytest.raises(InputError, match="none is chosen"):
        PartEdit.from_splats(splats, torch.zeros(len(splats), dtype=torch.bool))
    with pytest.raises(InputError, match="all are chosen"):
        PartEdit.removing(splats, torch.ones(len(splats), dtype=torch.bool), splats, torch.arange(len(splats)))
    with pytest.raises(InputError, match="growth: expected at least 1"):
        PartEditConfig(growth=0.5)
    with pytest.raises(InputError, match="reach"):
        PartEditConfig(reach=-1.0)
