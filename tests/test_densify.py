"""Gaussians come and go: gsplat's strategies told as edits, the formula of MCMC, and runs that grow and can go on."""

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gs_reg import edit as edits
from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.densify import Densifier, DensifyConfig, check
from gs_reg.densify.markov import MOST_COPIES, markov_edit, shared
from gs_reg.densify.strategies import Means2d, default_edit
from gs_reg.edit import Edit
from gs_reg.errors import MissingPart
from gs_reg.fit import FitConfig, fit, shuffled
from gs_reg.init.random import random_splats
from gs_reg.models.free import Free, FreeConfig
from gs_reg.optim import load_optimizer, make_optimizer, optimizer_tensors
from gs_reg.render.gsplat import strategies
from gs_reg.terms.scene import SceneTerms
from gs_reg.types import Splats


def some_splats(count=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Splats(
        torch.randn(count, 3, generator=g),
        torch.randn(count, 4, generator=g),
        0.5 * torch.randn(count, 3, generator=g) - 3,
        2 * torch.randn(count, generator=g),
        torch.randn(count, 4, 3, generator=g),
    )


def trained(splats):
    """A model at exactly these splats, and an optimiser that has made one step since and has gone back."""
    filled = torch.ones(len(splats), dtype=torch.bool)  # these keep their opacity
    model = Free.from_splats(replace(splats, extra={"filled": filled}), FreeConfig())
    optimizer = make_optimizer(model.parameter_groups())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sum((i + 1) * value.sin().sum() for i, value in enumerate(model.parameters())).backward()
    optimizer.step()
    optimizer.zero_grad()
    model.load_state_dict(before)
    return model, optimizer


def test_an_edit_moves_rows_and_optimiser_together():
    splats = some_splats()
    model, optimizer = trained(splats)
    before = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
    rows, fresh = torch.tensor([3, 3, 7]), torch.tensor([False, True, False])
    means = splats.means[rows] + torch.tensor([[0.0], [1.0], [0.0]])
    edits.apply(Edit(rows, fresh, {"means": means}, frozenset({"quats"})), model, optimizer)
    made, after = model(), optimizer_tensors(optimizer)
    assert torch.equal(made.sh, splats.sh[rows]) and torch.equal(made.means[[0, 2]], splats.means[[3, 7]])
    torch.testing.assert_close(made.means, means)
    assert torch.equal(after["dc.exp_avg"][[0, 2]], before["dc.exp_avg"][[3, 7]]) and not after["dc.exp_avg"][1].any()
    assert not after["quats.exp_avg_sq"].any() and after["quats.step"] == 1
    made.means.sum().backward()
    optimizer.step()
    assert (model().means != made.means).all()


def test_new_values_alone_leave_the_parameters_in_place():
    splats = some_splats()
    model, optimizer = trained(splats)
    before = list(model.parameters())
    edits.apply(Edit(patch={"means": splats.means + 1}), model, optimizer)
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    torch.testing.assert_close(model().means, splats.means + 1)
    with pytest.raises(ValueError, match="no Gaussian would be left"):
        edits.apply(Edit(rows=torch.zeros(0, dtype=torch.long)), model, optimizer)


def test_the_default_strategy_does_what_it_does_by_itself():
    """gsplat on dictionaries of its own against the edit; rows in the same order, moments of Adam included."""
    splats, (width, height) = some_splats(), (30, 20)
    strategy = strategies()[0](refine_start_iter=0, grow_grad2d=0.5, grow_scale3d=0.05, reset_every=1)
    generator = torch.Generator().manual_seed(1)
    means2d = Means2d(0.1 * torch.rand(2, 40, 2, generator=generator), None)
    radii = torch.randint(0, 3, (2, 40, 2), generator=generator, dtype=torch.int32)
    model, optimizer = trained(splats)
    moments = {group["name"]: optimizer.state[group["params"][0]]["exp_avg"] for group in optimizer.param_groups}

    theirs = {"means": splats.means, "scales": splats.log_scales, "quats": splats.quats}
    theirs |= {"opacities": splats.opacity_logits, "dc": splats.sh[:, :1]}
    params = {name: torch.nn.Parameter(value.clone()) for name, value in theirs.items()}
    ours = {"means": "offset", "scales": "log_scales", "quats": "quats", "opacities": "opacity_logits", "dc": "dc"}
    optimizers = {name: torch.optim.Adam([value]) for name, value in params.items()}
    for name, value in params.items():
        optimizers[name].state[value] = {"step": torch.tensor(1.0), "exp_avg": moments[ours[name]].clone()}
    info = {"means2d": means2d, "radii": radii, "width": width, "height": height, "n_cameras": 2, "gaussian_ids": None}
    torch.manual_seed(3)
    strategy.step_post_backward(params, optimizers, {"grad2d": None, "count": None, "scene_scale": 2.0}, 100, info)

    torch.manual_seed(3)
    state = {"scale": torch.tensor(2.0)}
    edit = default_edit(strategy, state, splats, means2d, radii, (width, height), 100)
    edits.apply(edit, model, optimizer)
    made = model()
    kinds = {name: len(edit.rows[edit.fresh]) for name in ("fresh",)}
    assert 0 < kinds["fresh"] < len(made) and len(state["grad2d"]) == len(made) == len(params["means"]) != 40
    torch.testing.assert_close(made.means, params["means"])
    for column, name in (("log_scales", "scales"), ("quats", "quats"), ("opacity_logits", "opacities")):
        assert torch.equal(getattr(made, column), params[name]), name
    assert torch.equal(made.sh[:, :1], params["dc"])
    for group in optimizer.param_groups:
        if name := next((theirs for theirs, own in ours.items() if own == group["name"]), None):
            expected = optimizers[name].state[params[name]]["exp_avg"]
            assert torch.equal(optimizer.state[group["params"][0]]["exp_avg"], expected), name


def test_copies_look_like_the_one_that_they_are_of():
    """Equation 9 keeps the integral of what is composited: 1 - (1 - o G)^n for n copies, o G for one."""
    x = torch.linspace(-12, 12, 40001, dtype=torch.float64)
    opacities, counts = torch.tensor([0.9, 0.5, 0.99, 0.3, 0.7]).double(), torch.tensor([2, 3, 7, MOST_COPIES, 1])
    each, factors = shared(opacities, counts)
    alpha = each[:, None] * torch.exp(-0.5 * (x / factors[:, None]) ** 2)
    together = torch.trapezoid(1 - (1 - alpha) ** counts[:, None], x)
    torch.testing.assert_close(together, opacities * (2 * torch.pi) ** 0.5)
    torch.testing.assert_close(1 - (1 - each) ** counts, opacities)


def test_the_faint_go_to_the_opaque_and_the_number_grows():
    splats = some_splats(100)
    splats.opacity_logits[:10] = -9.0
    torch.manual_seed(0)
    edit = markov_edit(splats, 1000, 0.005, rate=0.0)
    assert len(edit.rows) == 105 and edit.fresh[:10].all() and edit.fresh[100:].all()
    assert (edit.rows[:10] >= 10).all() and torch.equal(edit.rows[10:100], torch.arange(10, 100))
    torch.testing.assert_close(edit.patch["means"], splats.means[edit.rows])
    copied = torch.bincount(edit.rows, minlength=100) > 1
    assert torch.equal(edit.patch["opacity_logits"][10:100][~copied[10:]], splats.opacity_logits[10:][~copied[10:]])
    assert (edit.patch["opacity_logits"][10:100][copied[10:]] < splats.opacity_logits[10:][copied[10:]]).all()
    assert len(markov_edit(splats, 102, 0.005, 0.0).rows) == 102
    assert markov_edit(splats, None, 0.005, 1.0).rows is None


def test_noise_has_the_shape_of_the_gaussian_and_spares_the_opaque():
    count = 20000
    quats, log_scales = torch.tensor([[0.5, -0.2, 0.7, 0.1]]), torch.tensor([[0.0, -1.0, -2.0]])
    one = Splats(torch.zeros(1, 3), quats, log_scales, torch.tensor([-9.0]), torch.zeros(1, 1, 3))
    torch.manual_seed(0)
    moved = markov_edit(one.rows(torch.zeros(count, dtype=torch.long)), None, 0.0, rate=2.0).patch["means"]
    R = torch.linalg.svd(moved)[2]  # main axes
    gate = torch.sigmoid(100 * (0.005 - torch.tensor(-9.0).sigmoid()))
    expected = 2 * gate * one.scales[0] ** 2
    torch.testing.assert_close((moved @ R.T).std(0), expected, rtol=0.03, atol=0)
    opaque = replace(one, opacity_logits=torch.tensor([3.0]))
    assert markov_edit(opaque, None, 0.0, rate=2.0).patch["means"].abs().max() < 1e-20


@pytest.fixture(scope="module")
def views():
    scene = box_and_sphere(Rig(width=64, height=48))
    return [view.to(dtype=torch.float32) for view in scene.train]


METHODS = {
    "default": DensifyConfig("default", start=0, stop=0.75, every=25, grad=4e-4),
    "mcmc": DensifyConfig("mcmc", start=0, stop=0.75, every=10, most=620),
}
STEPS = 200


def start(views, config, count=400):
    bounds = [(float(1 / v.depths.max()), float(1 / v.depths[v.depths > 0].min())) for v in views]
    splats = random_splats([v.cameras for v in views], bounds, count, seed=0)
    rates = FreeConfig(opacity=0.1, lr_offset=2e-2, lr_quat=1e-3, lr_scale=5e-3, lr_color=1e-2)
    model = Free.from_splats(splats, rates)
    return model, make_optimizer(model.parameter_groups()), Densifier(config) if config else None


def steps(model, optimizer, densifier, views, count=STEPS, first=0):
    loop = fit(
        model,
        lambda n: views[shuffled(len(views), n, 0)],
        SceneTerms(),
        FitConfig(steps=STEPS),
        optimizer,
        first=first,
        densify=densifier,
    )
    return [step for _, step in zip(range(count), loop, strict=False)]


@pytest.fixture(scope="module")
def plain_loss(views):
    return mean_loss(steps(*start(views, None), views))


def mean_loss(done):
    return sum(s.loss for s in done[-12:]) / 12


@pytest.mark.parametrize("method", METHODS)
def test_a_run_grows_and_learns(views, plain_loss, method):
    done = steps(*start(views, METHODS[method]), views)
    counts = [len(step.splats) for step in done]
    assert counts[0] == 400 and max(counts) > 600 and (method != "mcmc" or counts[-1] == 620)
    assert counts[int(0.75 * STEPS) + 1] == counts[-1]  # nothing comes or goes after `stop`
    assert mean_loss(done) < 0.6 * mean_loss(done[:12])
    if method == "default":  # copies of mcmc take longer than this to drift apart
        assert mean_loss(done) < 0.5 * plain_loss
    assert all(torch.isfinite(t).all() for t in (done[-1].splats.means, done[-1].splats.log_scales))


@pytest.mark.parametrize("method", METHODS)
def test_resume_gives_the_same_bits(views, method):
    unbroken = start(views, METHODS[method])
    losses = [s.loss for s in steps(*unbroken, views, count=70)]
    model, optimizer, densifier = start(views, METHODS[method])
    steps(model, optimizer, densifier, views, count=40)
    torch.rand(7)  # whatever else draws random numbers
    again = Free({name: value.clone() for name, value in model.state_dict().items()}, model.config)
    its_optimizer = make_optimizer(again.parameter_groups())
    load_optimizer(its_optimizer, {name: value.clone() for name, value in optimizer_tensors(optimizer).items()})
    kept = Densifier(METHODS[method], {name: value.clone() for name, value in densifier.tensors.items()})
    resumed = steps(again, its_optimizer, kept, views, count=30, first=40)
    assert [s.loss for s in resumed] == losses[40:]
    for name, value in unbroken[0].state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_absolute_gradients_are_asked_for_and_used(views):
    config = replace(METHODS["default"], absgrad=True, grad=1.6e-3)
    done = steps(*start(views, config), views, count=60)
    assert done[0].image.means2d.absgrad.shape == (1, 400, 2) and len(done[-1].splats) > 400


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gsplat" else SimpleNamespace())
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    check(DensifyConfig(), cuda)
    check(DensifyConfig("mcmc"), cpu)
    for method, device in (("default", cpu), ("mcmc", cuda)):
        with pytest.raises(MissingPart, match=r"densify: gsplat is not installed; pip install 'gs-reg\[gsplat\]'"):
            check(DensifyConfig(method), device)
    with pytest.raises(ValueError, match="every: expected at least 1 step, got 0"):
        DensifyConfig("mcmc", every=0)
