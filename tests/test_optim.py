"""Adam for the rows that were seen: torch's where all are, and nothing moves where none is."""

import pytest
import torch

from gs_reg import edit as edits
from gs_reg.edit import Edit
from gs_reg.fit import FitConfig, fit
from gs_reg.models.free import Free, FreeConfig
from gs_reg.optim import OptimConfig, load_optimizer, make_optimizer, optimizer_tensors
from gs_reg.terms.scene import SceneTerms

from .test_densify import some_splats
from .test_fit import views  # noqa: F401


def parameters(count=9):
    generator = torch.Generator().manual_seed(0)
    shapes = {"centres": (count, 3), "opacities": (count,), "colours": (count, 4, 3)}
    return {name: torch.nn.Parameter(torch.randn(*shape, generator=generator)) for name, shape in shapes.items()}


def optimizer_of(tensors, selective):
    return make_optimizer([{"name": k, "params": [v], "lr": 0.05} for k, v in tensors.items()], selective)


def steps(tensors, optimizer, seen):
    for number, rows in enumerate(seen):
        for i, value in enumerate(tensors.values()):
            value.grad = (number + 1) * torch.sin(value.detach() + i)
        optimizer.seen = rows
        optimizer.step()


def test_where_all_are_seen_it_is_adam():
    ours, theirs, everything = parameters(), parameters(), [torch.ones(9, dtype=torch.bool)] * 5
    steps(ours, optimizer_of(ours, True), everything)
    steps(theirs, optimizer_of(theirs, False), everything)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


def test_rows_that_rest_keep_everything_and_go_on_as_if_nothing_had_been():
    often, seldom = parameters(), parameters()
    some = torch.arange(9) < 4
    steps(often, optimizer := optimizer_of(often, True), [some, some])
    for name, value in parameters().items():
        assert torch.equal(often[name][4:], value[4:]) and (often[name][:4] != value[:4]).all()
    assert optimizer_tensors(optimizer)["centres.row_steps"].tolist() == [2] * 4 + [0] * 5
    steps(seldom, optimizer_of(seldom, True), [~some])
    steps(often, optimizer, [~some])
    for name, value in seldom.items():
        assert torch.equal(often[name][4:], value[4:])


def test_its_state_is_saved_and_follows_an_edit():
    model = Free.from_splats(some_splats(), FreeConfig())
    optimizer = make_optimizer(model.parameter_groups(), selective=True)
    model().means.sum().backward()
    optimizer.seen = torch.arange(40) % 2 == 0
    optimizer.step()
    again = make_optimizer(model.parameter_groups(), selective=True)
    load_optimizer(again, optimizer_tensors(optimizer))
    edits.apply(Edit(torch.tensor([0, 1, 2]), torch.tensor([False, False, True])), model, again)
    assert optimizer_tensors(again)["offset.row_steps"].tolist() == [1, 0, 0]


def test_a_run_with_it_learns(views):  # noqa: F811
    from gs_reg.init.random import random_splats

    splats = random_splats([v.cameras for v in views], [(0.2, 0.5)] * len(views), 200, seed=0)
    model = Free.from_splats(splats, FreeConfig(opacity=0.1, lr_color=2e-2))
    config = FitConfig(steps=40, optim=OptimConfig(selective=True))
    optimizer = make_optimizer(model.parameter_groups(), config.optim.selective)
    done = list(fit(model, lambda n: views[n % len(views)], SceneTerms(), config, optimizer))
    assert sum(s.loss for s in done[-4:]) < 0.8 * sum(s.loss for s in done[:4])


def test_what_it_refuses():
    tensors = parameters()
    optimizer = optimizer_of(tensors, True)
    with pytest.raises(ValueError, match="selective: centres has 9 rows, and 5 were drawn"):
        steps(tensors, optimizer, [torch.ones(5, dtype=torch.bool)])
    half = {"centres": torch.nn.Parameter(torch.zeros(9, 3, dtype=torch.float16))}
    with pytest.raises(ValueError, match=r"selective: no kernel moves centres, torch\.float16 on cpu"):
        steps(half, optimizer_of(half, True), [torch.ones(9, dtype=torch.bool)])
    group = {"name": "a", "params": [tensors["centres"]], "lr": 0.1, "weight_decay": 0.5}
    with pytest.raises(ValueError, match="selective: a has weight decay"):
        make_optimizer([group], selective=True)
