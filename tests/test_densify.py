"""Gaussians come and go: gsplat's strategies told as edits, the formula of MCMC, and runs that grow and can go on."""

import copy
import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.densify import DensifyConfig, DensityControl, check, density_control
from gs_reg.densify.gsplat_edit import Means2d, default_edit
from gs_reg.densify.mcmc_torch import MAX_COPIES, compute_relocation, mcmc_edit_torch
from gs_reg.edit import Edit
from gs_reg.errors import MissingPart
from gs_reg.fit import FitConfig, fit, shuffled
from gs_reg.init.random import random_splats
from gs_reg.models.free import Free, FreeConfig
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.optim import OptimConfig
from gs_reg.render.gsplat import strategies
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
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
    state = State.begin(model, OptimConfig())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sum((i + 1) * value.sin().sum() for i, value in enumerate(model.parameters())).backward()
    state.optimizer.step(0, 1)
    state.optimizer.zero_grad()
    model.load_state_dict(before)
    return state


def moments_of(state, key="exp_avg"):
    return {name: tensors[0][key] for name, tensors in state.optimizer.tensors().items()}


def test_an_edit_moves_rows_and_optimiser_together():
    splats = some_splats()
    state = trained(splats)
    before = moments_of(state)
    rows, fresh = torch.tensor([3, 3, 7]), torch.tensor([False, True, False])
    means = splats.means[rows] + torch.tensor([[0.0], [1.0], [0.0]])
    state.apply(Edit(rows, fresh, {"means": means}, frozenset({"quats"})))
    made, after = state.model(), moments_of(state)
    assert torch.equal(made.sh, splats.sh[rows]) and torch.equal(made.means[[0, 2]], splats.means[[3, 7]])
    torch.testing.assert_close(made.means, means)
    assert torch.equal(after["dc"][[0, 2]], before["dc"][[3, 7]]) and not after["dc"][1].any()
    assert not moments_of(state, "exp_avg_sq")["quats"].any() and moments_of(state, "step")["quats"] == 1
    made.means.sum().backward()
    state.optimizer.step(0, 1)
    assert (state.model().means != made.means).all()


def test_new_values_alone_leave_the_parameters_in_place():
    splats = some_splats()
    state = trained(splats)
    model, before = state.model, list(state.model.parameters())
    state.apply(Edit(patch={"means": splats.means + 1}))
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))
    torch.testing.assert_close(model().means, splats.means + 1)
    with pytest.raises(ValueError, match="no Gaussian would be left"):
        state.apply(Edit(rows=torch.zeros(0, dtype=torch.long)))


def test_the_default_strategy_does_what_it_does_by_itself():
    """gsplat on dictionaries of its own against the edit; rows in the same order, moments of Adam included."""
    splats, (width, height) = some_splats(), (30, 20)
    strategy = strategies()[0](refine_start_iter=0, grow_grad2d=0.5, grow_scale3d=0.05, reset_every=1)
    generator = torch.Generator().manual_seed(1)
    means2d = Means2d(0.1 * torch.rand(2, 40, 2, generator=generator), None)
    radii = torch.randint(0, 3, (2, 40, 2), generator=generator, dtype=torch.int32)
    trained_state = trained(splats)
    moments = moments_of(trained_state)

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
    trained_state.apply(edit)
    made = trained_state.model()
    kinds = {name: len(edit.rows[edit.fresh]) for name in ("fresh",)}
    assert 0 < kinds["fresh"] < len(made) and len(state["grad2d"]) == len(made) == len(params["means"]) != 40
    torch.testing.assert_close(made.means, params["means"])
    for column, name in (("log_scales", "scales"), ("quats", "quats"), ("opacity_logits", "opacities")):
        assert torch.equal(getattr(made, column), params[name]), name
    assert torch.equal(made.sh[:, :1], params["dc"])
    for name, own in ours.items():
        assert torch.equal(moments_of(trained_state)[own], optimizers[name].state[params[name]]["exp_avg"]), name


def test_copies_look_like_the_one_that_they_are_of():
    """Equation 9 keeps the integral of what is composited: 1 - (1 - o G)^n for n copies, o G for one."""
    x = torch.linspace(-12, 12, 40001, dtype=torch.float64)
    opacities, counts = torch.tensor([0.9, 0.5, 0.99, 0.3, 0.7]).double(), torch.tensor([2, 3, 7, MAX_COPIES, 1])
    each, factors = compute_relocation(opacities, counts)
    alpha = each[:, None] * torch.exp(-0.5 * (x / factors[:, None]) ** 2)
    together = torch.trapezoid(1 - (1 - alpha) ** counts[:, None], x)
    torch.testing.assert_close(together, opacities * (2 * torch.pi) ** 0.5)
    torch.testing.assert_close(1 - (1 - each) ** counts, opacities)


def test_the_faint_go_to_the_opaque_and_the_number_grows():
    splats = some_splats(100)
    splats.opacity_logits[:10] = -9.0
    torch.manual_seed(0)
    edit = mcmc_edit_torch(splats, 1000, 0.005, scaler=0.0)
    assert len(edit.rows) == 105 and edit.fresh[:10].all() and edit.fresh[100:].all()
    assert (edit.rows[:10] >= 10).all() and torch.equal(edit.rows[10:100], torch.arange(10, 100))
    torch.testing.assert_close(edit.patch["means"], splats.means[edit.rows])
    copied = torch.bincount(edit.rows, minlength=100) > 1
    assert torch.equal(edit.patch["opacity_logits"][10:100][~copied[10:]], splats.opacity_logits[10:][~copied[10:]])
    assert (edit.patch["opacity_logits"][10:100][copied[10:]] < splats.opacity_logits[10:][copied[10:]]).all()
    assert len(mcmc_edit_torch(splats, 102, 0.005, 0.0).rows) == 102
    assert mcmc_edit_torch(splats, None, 0.005, 1.0).rows is None


def test_noise_has_the_shape_of_the_gaussian_and_spares_the_opaque():
    count = 20000
    quats, log_scales = torch.tensor([[0.5, -0.2, 0.7, 0.1]]), torch.tensor([[0.0, -1.0, -2.0]])
    one = Splats(torch.zeros(1, 3), quats, log_scales, torch.tensor([-9.0]), torch.zeros(1, 1, 3))
    torch.manual_seed(0)
    moved = mcmc_edit_torch(one.rows(torch.zeros(count, dtype=torch.long)), None, 0.0, scaler=2.0).patch["means"]
    R = torch.linalg.svd(moved)[2]  # main axes
    gate = torch.sigmoid(100 * (0.005 - torch.tensor(-9.0).sigmoid()))
    expected = 2 * gate * one.scales[0] ** 2
    torch.testing.assert_close((moved @ R.T).std(0), expected, rtol=0.03, atol=0)
    opaque = replace(one, opacity_logits=torch.tensor([3.0]))
    assert mcmc_edit_torch(opaque, None, 0.0, scaler=2.0).patch["means"].abs().max() < 1e-20


@pytest.fixture(scope="module")
def views():
    scene = box_and_sphere(Rig(width=64, height=48))
    return [view.to(dtype=torch.float32) for view in scene.train]


METHODS = {
    "default": DensifyConfig("default", start=0, stop=0.75, every=25, grad=4e-4),
    "mcmc": DensifyConfig("mcmc", start=0, stop=0.75, every=10, cap_max=620),
}
STEPS = 200


def start(views, config, count=400):
    bounds = [(float(1 / v.depths.max()), float(1 / v.depths[v.depths > 0].min())) for v in views]
    splats = random_splats([v.cameras for v in views], bounds, count, seed=0)
    rates = FreeConfig(opacity=0.1, lr_offset=2e-2, lr_quat=1e-3, lr_scale=5e-3, lr_color=1e-2)
    model = Free.from_splats(splats, rates)
    return State.begin(model, OptimConfig(), density_control(config) if config else None)


def steps(state, views, last=STEPS):
    loop = fit(state, lambda n: Shot(views[shuffled(len(views), n, 0)]), cost_of(SceneTerms()), FitConfig(steps=STEPS))
    return [step for _, step in zip(range(state.step, last), loop, strict=False)]


@pytest.fixture(scope="module")
def plain_loss(views):
    return mean_loss(steps(start(views, None), views))


def mean_loss(done):
    return sum(s.loss for s in done[-12:]) / 12


@pytest.mark.parametrize("method", METHODS)
def test_a_run_grows_and_learns(views, plain_loss, method):
    done = steps(start(views, METHODS[method]), views)
    counts = [step.gaussians for step in done]
    assert counts[0] == 400 and max(counts) > 600 and (method != "mcmc" or counts[-1] == 620)
    assert counts[int(0.75 * STEPS) + 2] == counts[-1] == len(done[-1].splats)  # nothing comes or goes after `stop`
    assert mean_loss(done) < 0.6 * mean_loss(done[:12])
    if method == "default":  # copies of mcmc take longer than this to drift apart
        assert mean_loss(done) < 0.5 * plain_loss
    assert all(torch.isfinite(t).all() for t in (done[-1].splats.means, done[-1].splats.log_scales))


@pytest.mark.parametrize("method", METHODS)
def test_resume_gives_the_same_bits(views, method):
    unbroken = start(views, METHODS[method])
    losses = [s.loss for s in steps(unbroken, views, 70)]
    state = start(views, METHODS[method])
    steps(state, views, 40)
    torch.rand(7)  # whatever else draws random numbers
    saved = copy.deepcopy(state.tensors())
    again = State.begin(Free(saved["model"], state.model.config), OptimConfig(), density_control(METHODS[method]))
    again.load(saved, 40)
    assert [s.loss for s in steps(again, views, 70)] == losses[40:]
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_absolute_gradients_are_asked_for_and_used(views):
    config = replace(METHODS["default"], absgrad=True, grad=1.6e-3)
    assert isinstance(density_control(config), DensityControl) and density_control(config).absgrad
    done = steps(start(views, config), views, 60)
    assert len(done[-1].splats) > 400
    assert len(steps(start(views, replace(config, grad=1e9)), views, 60)[-1].splats) <= 400


class FirstRowTwice(DensityControl):
    """One's own: every tenth step the first row is copied."""

    def step_post_backward(self, observation):
        if observation.step % 10 != 9:
            return None
        return Edit(torch.cat([torch.arange(len(observation.splats)), torch.tensor([0])]))


def test_a_third_control_needs_nothing_of_the_others(views):
    state = start(views, None)
    state.density = FirstRowTwice()
    assert isinstance(state.density, DensityControl)
    done = steps(state, views, 30)
    assert [step.gaussians for step in done] == [400] * 10 + [401] * 10 + [402] * 10 and len(done[-1].splats) == 403


def test_a_model_of_a_fixed_number_is_refused(views):
    rays = PixelAligned.from_views(views, [v.depths[0] for v in views], PixelAlignedConfig())
    with pytest.raises(ValueError, match="density control: PixelAligned has a fixed number of Gaussians"):
        State.begin(rays, OptimConfig(), FirstRowTwice())
    with pytest.raises(ValueError, match="edit: PixelAligned has a fixed number"):
        State.begin(rays, OptimConfig()).apply(Edit(torch.arange(3)))


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


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (Edit(torch.tensor([0, 40])), "rows: expected 0 to 39, got 0 to 40"),
        (Edit(torch.tensor([-1, 3])), "rows: expected 0 to 39"),
        (
            Edit(torch.arange(10), patch={"log_scales": torch.zeros(5, 3)}),
            r"log_scales: expected .* \[10, 3\]",
        ),
        (Edit(patch={"means": torch.zeros(1, 3)}), r"means: expected torch.float32 \[40, 3\]"),
        (Edit(patch={"quats": torch.zeros(40, 4).double()}), "got torch.float64"),
        (Edit(patch={"size": torch.zeros(40)}), "no 'size'"),
        (Edit(reset_groups=frozenset({"opacity"})), "no group opacity"),
    ],
)
def test_an_edit_that_does_not_fit_changes_nothing(edit, text):
    state = trained(some_splats())
    before = copy.deepcopy(dict(state.model.state_dict()))
    with pytest.raises(ValueError, match=text):
        state.apply(edit)
    assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())


def test_an_edit_of_frames_leaves_the_gaussians():
    state = trained(some_splats())
    state.apply(Edit(torch.arange(3), axis="frames"))
    assert len(state.model()) == 40 and len(moments_of(state)["offset"]) == 40


def test_a_control_without_its_one_method_cannot_be_made():
    class Nothing(DensityControl):
        pass

    with pytest.raises(TypeError, match="step_post_backward"):
        Nothing()
