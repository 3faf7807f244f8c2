"""The loop: it learns, says what each step was, stops on NaN, and a resumed run gives the bits of an unbroken one."""

import pytest
import torch

from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.fit import FitConfig, fit, shuffled
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.optim import load_optimizer, make_optimizer, optimizer_tensors
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
