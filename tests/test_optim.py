"""One optimiser for Gaussians, frames and networks: rates, weight decay, rows that a step did not see."""

import copy

import pytest
import torch

from gs_reg.edit import Edit
from gs_reg.fit import FitConfig, fit
from gs_reg.models.free import Free, FreeConfig
from gs_reg.optim import OptimConfig, Optimizer, ParameterGroup, TriangularSchedule
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
from gs_reg.terms.scene import SceneTerms

from .test_densify import some_splats
from .test_fit import views  # noqa: F401

SELECTIVE = OptimConfig(final_rate=1.0, selective=True)


def parameters(count=9):
    generator = torch.Generator().manual_seed(0)
    shapes = {"centres": (count, 3), "opacities": (count,), "colours": (count, 4, 3)}
    return {name: torch.nn.Parameter(torch.randn(*shape, generator=generator)) for name, shape in shapes.items()}


def optimizer_of(tensors, config, axis="gaussians"):
    return Optimizer([ParameterGroup(name, [value], 0.05, axis=axis) for name, value in tensors.items()], config)


def steps(tensors, optimizer, seen, axis="gaussians"):
    for number, rows in enumerate(seen):
        for i, value in enumerate(tensors.values()):
            value.grad = (number + 1) * torch.sin(value.detach() + i)
        optimizer.step(0, 1, {axis: rows})


def test_rates_fall_rise_and_wait():
    def rate(step, **group):
        group = ParameterGroup("a", [torch.nn.Parameter(torch.zeros(1))], 2.0, **group)
        return Optimizer([group], OptimConfig()).rate(group, step, 80)

    assert rate(0) == 2.0 and rate(80) == pytest.approx(0.2)
    assert rate(39, start=0.5) == 0.0 and rate(40, start=0.5) > 0
    cycle = {"schedule": TriangularSchedule(4.0, 0.1)}
    expected = [0.2, 1.1, 2.0, 1.1, 0.2, 0.2 + 0.9 / 2, 1.1]
    assert [rate(n, **cycle) for n in (0, 10, 20, 30, 40, 50, 60)] == pytest.approx(expected)
    assert [OptimConfig(1.0, warmup=4).decay(n, 80) for n in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]


def test_weight_decay_is_of_its_group_alone():
    decayed, kept = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = Optimizer([ParameterGroup("a", [decayed], 0.1, weight_decay=0.5), ParameterGroup("b", [kept], 0.1)])
    decayed.grad, kept.grad = torch.zeros(1), torch.zeros(1)
    optimizer.step(0, 1)
    assert float(decayed.detach()) == pytest.approx(0.95) and float(kept.detach()) == 1.0


@pytest.mark.parametrize("native", [True, False])
def test_where_all_are_seen_it_is_adam(native, monkeypatch):
    """By the kernels, and in plain torch where there are none."""
    monkeypatch.setattr("gs_reg._ops.is_native", lambda *tensors: native)
    ours, theirs, everything = parameters(), parameters(), [torch.ones(9, dtype=torch.bool)] * 5
    steps(ours, optimizer_of(ours, SELECTIVE), everything)
    steps(theirs, optimizer_of(theirs, OptimConfig(final_rate=1.0)), everything)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("axis", "config"), [("gaussians", SELECTIVE), ("frames", OptimConfig(final_rate=1.0))])
def test_rows_not_seen_keep_everything_and_go_on_as_if_nothing_had_been(axis, config):
    often, seldom = parameters(), parameters()
    some = torch.arange(9) < 4
    steps(often, optimizer := optimizer_of(often, config, axis), [some, some], axis)
    for name, value in parameters().items():
        assert torch.equal(often[name][4:], value[4:]) and (often[name][:4] != value[:4]).all()
    assert optimizer.tensors()["centres"][0]["row_steps"].tolist() == [2] * 4 + [0] * 5
    steps(seldom, optimizer_of(seldom, config, axis), [~some], axis)
    steps(often, optimizer, [~some], axis)
    for name, value in seldom.items():
        assert torch.equal(often[name][4:], value[4:])


@pytest.mark.parametrize("selective", [False, True])
def test_its_state_is_saved_and_an_edit_moves_the_rows_of_its_axis_alone(selective):
    model = Free.from_splats(some_splats(), FreeConfig())
    codes, network = torch.nn.Parameter(torch.ones(40, 2)), torch.nn.Linear(3, 2)

    def groups():
        others = [ParameterGroup("codes", [codes], 0.1, axis="frames")]
        return [*model.parameter_groups(), *others, ParameterGroup("network", list(network.parameters()), 0.1)]

    config = OptimConfig(selective=selective)
    optimizer = Optimizer(groups(), config)
    (network(model().means).sum() + codes.sum()).backward()
    optimizer.step(0, 1, {"gaussians": torch.arange(40) % 2 == 0})
    again = Optimizer(groups(), config)
    again.load(copy.deepcopy(optimizer.tensors()))
    before = again.tensors()
    edit = Edit(torch.tensor([0, 1, 2]), torch.tensor([False, False, True]))
    model.edit(edit)
    again.apply_edit(edit, groups())
    after = again.tensors()
    assert torch.equal(after["offset"][0]["exp_avg"][:2], before["offset"][0]["exp_avg"][:2])
    assert not after["offset"][0]["exp_avg"][2].any() and len(after["offset"][0]["exp_avg"]) == 3
    if selective:
        assert after["offset"][0]["row_steps"].tolist() == [1, 0, 0]
    for name in ("codes", "network"):  # the 40 frames are no Gaussians
        for now, then in zip(after[name], before[name], strict=True):
            assert all(torch.equal(now[key], then[key]) for key in then)
    (network(model().means).sum() + codes.sum()).backward()
    again.step(0, 1, {"gaussians": torch.ones(3, dtype=torch.bool)})


def test_a_run_with_it_learns(views):  # noqa: F811
    from gs_reg.init.random import random_splats

    splats = random_splats([v.cameras for v in views], [(0.2, 0.5)] * len(views), 200, seed=0)
    model = Free.from_splats(splats, FreeConfig(opacity=0.1, lr_color=2e-2))
    config = FitConfig(steps=40, optim=OptimConfig(selective=True))
    loop = fit(State.begin(model, config.optim), lambda n: Shot(views[n % len(views)]), cost_of(SceneTerms()), config)
    done = list(loop)
    assert sum(s.loss for s in done[-4:]) < 0.8 * sum(s.loss for s in done[:4])


def test_what_it_refuses():
    tensors = parameters()
    with pytest.raises(ValueError, match="selective: centres has 9 rows, and 5 were drawn"):
        steps(tensors, optimizer_of(tensors, SELECTIVE), [torch.ones(5, dtype=torch.bool)])
    group = ParameterGroup("a", [tensors["centres"]], 0.1, axis="gaussians", weight_decay=0.5)
    with pytest.raises(ValueError, match="selective: a has weight decay"):
        Optimizer([group], SELECTIVE)
    with pytest.raises(ValueError, match="expected a name each, got a, a"):
        Optimizer([ParameterGroup("a", [tensors["centres"]], 0.1)] * 2)


def test_a_state_of_another_shape_is_refused():
    network = torch.nn.Linear(2, 3)
    optimizer = Optimizer([ParameterGroup("net", list(network.parameters()), 0.1)])
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step(0, 1)
    other = Optimizer([ParameterGroup("net", list(torch.nn.Linear(4, 3).parameters()), 0.1)])
    with pytest.raises(ValueError, match=r"net, tensor 0: exp_avg: expected \[3, 4\] torch.float32, got \[3, 2\]"):
        other.load(optimizer.tensors())
    with pytest.raises(ValueError, match="'more' does not fit"):
        other.load({"more": []})


def test_a_parameter_in_two_groups_is_refused():
    value = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="one parameter is in a and in b"):
        Optimizer([ParameterGroup("a", [value], 0.1), ParameterGroup("b", [value], 0.2)])
    with pytest.raises(ValueError, match="one parameter is in a and in a"):
        Optimizer([ParameterGroup("a", [value, value], 0.1)])


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_rates_that_cannot_be_are_refused(bad):
    value = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="a: lr: expected a finite number"):
        Optimizer([ParameterGroup("a", [value], bad)])
    with pytest.raises(ValueError, match="a: weight_decay: expected a finite number"):
        Optimizer([ParameterGroup("a", [value], 0.1, weight_decay=bad)])
    with pytest.raises(ValueError, match="final_rate: expected"):
        OptimConfig(final_rate=bad)


SPOILED = {
    "missing": lambda state: state.pop("exp_avg_sq"),
    "unknown": lambda state: state.update(more=torch.zeros(3)),
    "short": lambda state: state.update(exp_avg_sq=state["exp_avg_sq"][:-1]),
    "double": lambda state: state.update(exp_avg=state["exp_avg"].double()),
    "counts": lambda state: state.update({name: torch.zeros(2) for name in state if "step" in name}),
}


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("selective", [False, True])
def test_a_state_that_does_not_fit_is_refused(spoil, selective):
    config, tensors = OptimConfig(selective=selective), parameters()
    optimizer = optimizer_of(tensors, config)
    steps(tensors, optimizer, [torch.ones(9, dtype=torch.bool)])
    saved = copy.deepcopy(optimizer.tensors())
    optimizer_of(parameters(), config).load(saved)
    SPOILED[spoil](saved["colours"][0])
    with pytest.raises(ValueError, match="optimizer: colours, tensor 0: "):
        optimizer_of(parameters(), config).load(saved)
