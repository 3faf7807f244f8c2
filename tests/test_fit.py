"""The loop: it learns, says what each step was, stops on NaN, and a resumed run gives the bits of an unbroken one."""

import copy
from dataclasses import replace

import pytest
import torch

from gs_reg.data_tools.synthetic import Rig, box_and_sphere
from gs_reg.dropout import Dropout
from gs_reg.fit import FitConfig, fit, shuffled
from gs_reg.models.free import Free, FreeConfig
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.render import RenderConfig, render
from gs_reg.shot import Shot
from gs_reg.stages import Stage, Training
from gs_reg.state import Model, State
from gs_reg.terms import Context, active_terms, cost_of
from gs_reg.terms.photometric import L1
from gs_reg.terms.scene import SceneTerms


@pytest.fixture(scope="module")
def views():
    scene = box_and_sphere(Rig(width=40, height=30))
    return [view.to(dtype=torch.float32) for view in scene.train]


def start(views):
    model = PixelAligned.from_views(views, [v.depths[0] for v in views], PixelAlignedConfig())
    return State.begin(model, FitConfig().optim)


def steps(state, views, last, total=12, cost=cost_of(SceneTerms()), **shot):
    def shoot(step):
        return Shot(views[shuffled(len(views), step, 0)], **shot)

    loop = fit(state, shoot, cost, FitConfig(steps=total))
    return [step for _, step in zip(range(state.step, last), loop, strict=False)]


def test_it_learns(views):
    done = steps(start(views), views, 30, total=30)
    assert [s.number for s in done] == list(range(30))
    assert sum(s.loss for s in done[-3:]) < 0.7 * sum(s.loss for s in done[:3])
    assert done[0].loss == pytest.approx(sum(done[0].values.values()))
    assert not done[0].image.colors.requires_grad and not done[-1].splats.means.requires_grad


def test_models_are_models(views):
    aligned = start(views).model
    assert isinstance(aligned, Model) and isinstance(Free.from_splats(aligned(), FreeConfig()), Model)


def test_resume_gives_the_same_bits(views):
    unbroken = start(views)
    losses = [s.loss for s in steps(unbroken, views, 8)]
    other = start(views)
    steps(other, views, 5)
    saved = copy.deepcopy(other.tensors())
    fresh = start(views)
    fresh.model.load_state_dict(saved["model"])
    fresh.load(saved, 5)
    assert [s.loss for s in steps(fresh, views, 8)] == losses[5:]
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(value, fresh.model.state_dict()[name]), name


def test_a_step_shows_the_one_cloud_that_it_left(views):
    """All rows of one moment, with the opacity that dropout stands for; later it is not there any more."""
    model = Free.from_splats(start(views).model(), FreeConfig())
    state, dropout = State.begin(model, FitConfig().optim), Dropout(0.4)
    loop = fit(state, lambda _: Shot(views[0], dropout=dropout), cost_of(SceneTerms()), FitConfig(steps=3))
    first = next(loop)
    want, got = dropout.with_expected_opacity(model()).detach(), first.splats
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        assert torch.equal(getattr(got, name), getattr(want, name)), name
    assert len(got) == first.gaussians == len(model())
    next(loop)
    with pytest.raises(RuntimeError, match="step 0: its splats are gone, as 2 steps are made"):
        _ = first.splats


def test_every_step_leaves_a_model_within_its_bounds(views):
    """A limit on the shape holds after each step; a broken-off run goes on to the same bits with it."""
    made, config = start(views).model(), FreeConfig(max_aspect=1.5, lr_scale=0.5)
    unlimited = Free.from_splats(made, replace(config, max_aspect=float("inf")))
    unbroken, other = (State.begin(model, FitConfig().optim) for model in (Free.from_splats(made, config), unlimited))

    def worst(state):
        second, longest = state.model().scales.sort(1).values.unbind(1)[1:]
        return float((longest / second).max().detach())

    for _ in range(4):
        steps(unbroken, views, unbroken.step + 1)
        assert worst(unbroken) < 1.5 * (1 + 1e-5)
    steps(other, views, 4)
    assert worst(other) > 1.5
    fresh = State.begin(Free.from_splats(made, config), FitConfig().optim)
    steps(fresh, views, 4)
    assert torch.equal(fresh.model.log_scales, unbroken.model.log_scales)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_name(views):
    def cost(context: Context):
        return {"l1": context.image.colors.mean() * float("nan")}

    with pytest.raises(FloatingPointError, match=r"step 0: .*l1"):
        steps(start(views), views, 1, cost=cost)


def test_a_cost_of_nothing_is_refused(views):
    with pytest.raises(ValueError, match="every weight is 0"):
        steps(start(views), views, 1, cost=cost_of({"l1": L1(0.0)}))


def test_columns_are_drawn_as_features_side_by_side(views):
    splats = start(views).model().detach()
    splats = replace(splats, extra={"label": torch.rand(len(splats)), "latent": torch.rand(len(splats), 2)})
    image = Shot(views[0], features=("latent", "label")).draw(splats)
    columns = torch.cat([splats.extra["latent"], splats.extra["label"][:, None]], 1)
    want = render(splats, views[0].cameras, features=columns)
    assert torch.equal(image.features, want.features) and image.features.shape[-1] == 3
    with pytest.raises(ValueError, match="no extra 'colour'; they have label, latent"):
        Shot(views[0], features=("colour",)).draw(splats)


def test_a_term_may_draw_the_same_splats_again(views):
    """At another size, a crop, another camera; with gradients, over the step's background."""
    background = torch.tensor([0.2, 0.4, 0.6])

    def cost(context: Context):
        cameras = context.views.cameras
        crop = context.draw(cameras.cropped(4, 3, 20, 16)).colors
        torch.testing.assert_close(crop, context.image.colors[:, 3:19, 4:24], rtol=0, atol=2e-6)
        small = context.draw(cameras.resized(20, 15))
        assert small.colors.shape == (1, 15, 20, 3) and small.colors.requires_grad
        outside = context.draw(cameras.cropped(-900, 0, 8, 8)).colors[0]
        assert torch.equal(outside.detach(), background.expand(8, 8, 3))
        return {"small": small.colors.square().mean()}

    (step,) = steps(start(views), views, 1, cost=cost, background=background)
    assert step.values.keys() == {"small"}


def test_each_view_once_in_every_round():
    for seed in range(3):
        order = [shuffled(4, n, seed) for n in range(40)]
        assert all(sorted(order[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 40, 4))
        assert order == [shuffled(4, n, seed) for n in range(40)]
    assert [shuffled(4, n, 0) for n in range(40)] != [shuffled(4, n, 1) for n in range(40)]


def test_drawing_follows_the_shot(views):
    (step,) = steps(start(views), views, 1, render=RenderConfig(supersample=2))
    assert step.shot.render.supersample == 2 and step.image.colors.shape == (1, 30, 40, 3)


@pytest.mark.parametrize("value", [0.5, None, torch.ones(2), torch.ones(1)])
def test_a_term_that_gives_no_scalar_is_named(views, value):
    class Odd:
        weight = 0.5

        def __call__(self, context):
            return value

    with pytest.raises(ValueError, match="term odd: expected a scalar tensor, got "):
        steps(start(views), views, 1, cost=cost_of({"l1": L1(), "odd": Odd()}))
    with pytest.raises(ValueError, match="cost: odd: expected a scalar tensor, got "):
        steps(start(views), views, 1, cost=lambda context: {"odd": value})


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_cannot_be_is_refused(weight):
    with pytest.raises(ValueError, match=r"l1\.weight: expected a finite number of at least 0"):
        active_terms({"l1": L1(weight)})


def test_features_of_another_type_or_a_text_are_refused(views):
    splats = start(views).model().detach()
    flags = replace(splats, extra={"flags": torch.ones(len(splats), dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"extra 'flags': expected torch\.float32 with .* rows, got torch\.bool"):
        Shot(views[0], features=("flags",)).draw(flags)
    shot = Shot(views[0])
    object.__setattr__(shot, "features", "flags")  # the tests' type checker would refuse it before
    with pytest.raises(ValueError, match="expected a tuple of names, got the text 'flags'"):
        shot.__post_init__()
    with pytest.raises(ValueError, match="steps: expected at least 0"):
        FitConfig(steps=-1)


@pytest.mark.parametrize("shared", [True, False])
def test_splats_of_a_stage_are_there_until_the_next_trains_the_same_model(views, shared):
    def begin(before):
        if before is None or not shared:
            return PixelAligned.from_views(views, [v.depths[0] for v in views], PixelAlignedConfig())
        return before

    def make(name):
        config = FitConfig(steps=2)
        return Stage(name, config, lambda step: Shot(views[0]), cost_of(SceneTerms()), begin, lambda tensors: None)

    loop = iter(Training.begin([make("a"), make("b")]))
    next(loop)
    last = next(loop)
    assert len(last.splats) > 0
    next(loop)
    if not shared:
        assert len(last.splats) > 0
        return
    with pytest.raises(RuntimeError, match="step 1: its splats are gone, as the next stage trains the same model"):
        _ = last.splats
