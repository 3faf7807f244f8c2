"""The loop: it learns, says what each step was, stops on NaN, and a resumed run gives the bits of an unbroken one."""

import pytest
import torch

from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.fit import FitConfig, drawing, fit, shuffled
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.optim import OptimConfig, load_optimizer, make_optimizer, optimizer_tensors, set_rates
from gs_reg.render import RenderConfig
from gs_reg.terms.scene import SceneTerms


@pytest.fixture(scope="module")
def views():
    scene = box_and_sphere(Rig(width=40, height=30))
    return [view.to(dtype=torch.float32) for view in scene.train]


def start(views):
    model = PixelAligned.from_views(views, [v.depths[0] for v in views], PixelAlignedConfig())
    return model, make_optimizer(model.parameter_groups())


def steps(model, optimizer, views, count, first=0, total=12):
    config = FitConfig(steps=total)
    loop = fit(model, lambda n: views[shuffled(len(views), n, 0)], SceneTerms(), config, optimizer, first=first)
    return [step for _, step in zip(range(count), loop, strict=False)]


def test_it_learns(views):
    done = steps(*start(views), views, 30, total=30)
    assert [s.number for s in done] == list(range(30))
    assert sum(s.loss for s in done[-3:]) < 0.7 * sum(s.loss for s in done[:3])
    assert done[0].loss == pytest.approx(sum(done[0].values.values()))
    assert not done[0].image.colors.requires_grad and not done[0].splats.means.requires_grad


def test_resume_gives_the_same_bits(views):
    model, optimizer = start(views)
    unbroken = steps(model, optimizer, views, 8)
    other, other_optimizer = start(views)
    steps(other, other_optimizer, views, 5)
    saved, saved_state = {k: v.clone() for k, v in other.state_dict().items()}, optimizer_tensors(other_optimizer)
    fresh, fresh_optimizer = start(views)
    fresh.load_state_dict(saved)
    load_optimizer(fresh_optimizer, {k: v.clone() for k, v in saved_state.items()})
    resumed = steps(fresh, fresh_optimizer, views, 3, first=5)
    assert [s.loss for s in resumed] == [s.loss for s in unbroken[5:]]
    for name, value in model.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name


def test_a_loss_that_is_not_finite_stops_the_run_with_its_name(views):
    model, optimizer = start(views)
    with torch.no_grad():
        model.dc[0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"step 0: .*l1"):
        steps(model, optimizer, views, 1)


def test_each_view_once_in_every_round():
    for seed in range(3):
        order = [shuffled(4, n, seed) for n in range(40)]
        assert all(sorted(order[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 40, 4))
        assert order == [shuffled(4, n, seed) for n in range(40)]
    assert [shuffled(4, n, 0) for n in range(40)] != [shuffled(4, n, 1) for n in range(40)]


def test_a_step_alone_decides_how_it_is_drawn():
    config = FitConfig(steps=100, multisample=4, multisample_from=0.4, sh_from=(0.5, 0.75))
    factors = [drawing(config, n, 3).supersample for n in range(100)]
    assert set(factors[:40]) == {1} and set(factors[40:]) == {1, 2, 3, 4}
    assert factors == [drawing(config, n, 3).supersample for n in range(100)]
    assert [drawing(config, n, 3).sh_degree for n in (0, 49, 50, 74, 75)] == [0, 0, 1, 1, 3]
    assert drawing(config, 99, 1).sh_degree == 1
    plain = FitConfig(steps=100, render=RenderConfig(sh_degree=1, supersample=2))
    assert drawing(plain, 99, 3) == plain.render


def test_rates_fall_rise_and_rest():
    def rates(step, **group):
        group = {"name": "a", "params": [torch.nn.Parameter(torch.zeros(1))], "lr": 2.0, **group}
        optimizer = make_optimizer([group])
        set_rates(optimizer, OptimConfig(), step, 80)
        return optimizer.param_groups[0]["lr"]

    assert rates(0) == 2.0 and rates(80) == pytest.approx(0.2)
    assert rates(39, **{"from": 0.5}) == 0.0 and rates(40, **{"from": 0.5}) > 0
    cycle = {"half_cycles": 4.0, "lowest": 0.1}
    expected = [0.2, 1.1, 2.0, 1.1, 0.2, 0.2 + 0.9 / 2, 1.1]
    assert [rates(n, **cycle) for n in (0, 10, 20, 30, 40, 50, 60)] == pytest.approx(expected)


def test_weight_decay_is_of_its_group_alone():
    decayed, kept = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = make_optimizer(
        [{"name": "a", "params": [decayed], "lr": 0.1, "weight_decay": 0.5}, {"name": "b", "params": [kept], "lr": 0.1}]
    )
    decayed.grad, kept.grad = torch.zeros(1), torch.zeros(1)
    optimizer.step()
    assert float(decayed.detach()) == pytest.approx(0.95) and float(kept.detach()) == 1.0
