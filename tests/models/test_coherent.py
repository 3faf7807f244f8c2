"""CoherentGS: decoders move every pixel, depth stays positive, sizes stay tied, tensors alone rebuild the model."""

import copy
from dataclasses import replace

import pytest
import torch

from gs_reg.fit import FitConfig, fit
from gs_reg.geometry import project
from gs_reg.models.coherent import Coherent, CoherentConfig, capacities
from gs_reg.models.pixel_aligned import PixelAlignedConfig
from gs_reg.render import RenderConfig
from gs_reg.shot import Shot
from gs_reg.state import Model, State
from gs_reg.terms import cost_of
from gs_reg.terms.correspondence import FlowConsistency
from gs_reg.terms.photometric import L1, MultiLevelL1
from gs_reg.terms.scene import SceneTerms
from gs_reg.terms.smoothness import LayeredTV
from gs_reg.types import Cameras, Views

SMALL = CoherentConfig(capacity=2, layers=3)


def views_of(*sizes, masked=False):
    generator = torch.Generator().manual_seed(0)
    views = []
    for n, (width, height) in enumerate(sizes):
        K = torch.tensor([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]])
        viewmat = torch.eye(4)
        viewmat[0, 3] = -0.2 * n
        image = torch.rand(1, height, width, 3, generator=generator)
        mask = torch.rand(1, height, width, generator=generator) > 0.3 if masked else None
        layers = torch.randint(3, (1, height, width), generator=generator, dtype=torch.uint8)
        views.append(Views(Cameras(viewmat[None], K[None], width, height), image, (f"v{n}",), mask, layers=layers))
    return views


def model_of(views, config=SMALL, matches=None, **rows):
    depths = [torch.full(v.images.shape[1:3], 2.0) for v in views]
    none = [(torch.zeros(*d.shape, 1), torch.zeros(*d.shape, 1)) for d in depths]
    return Coherent.from_views(views, depths, matches or none, config, PixelAlignedConfig(**rows))


TWO = views_of((24, 18), (24, 18))


def test_it_is_a_model_and_starts_near_its_depths_with_the_published_opacity():
    model = model_of(TWO, CoherentConfig(layers=3))
    assert isinstance(model, Model)
    splats = model()
    assert len(splats) == 2 * 24 * 18
    torch.testing.assert_close(model.depths_of(splats), torch.full((len(splats),), 2.0), rtol=0.02, atol=0)
    torch.testing.assert_close(model.rows.opacity_logits.sigmoid(), torch.full((len(splats),), 0.6))
    assert (splats.opacity_logits - model.rows.opacity_logits).abs().mean() < 1.0


@pytest.mark.parametrize("output", [-1e3, 1e3])
def test_depth_stays_positive_and_every_pixel_can_move(output):
    """T10."""
    model = model_of(TWO)
    with torch.no_grad():
        model.depth_decoder.last.bias.fill_(output)
        depth = model.depths_of(model())
    assert (depth > 0).all() and ((depth / 2).log() * output > 0).all()
    assert torch.isfinite(model().means).all()


def test_means_stay_on_their_rays_and_sizes_at_a_share_of_a_pixel():
    """T7: 0.6 px in the own camera at every depth."""
    model = model_of(TWO)
    with torch.no_grad():
        model.depth_decoder.last.weight.normal_(0, 30)
        splats = model()
    depth = model.depths_of(splats)
    assert depth.std() > 0.1
    torch.testing.assert_close(splats.scales, (0.6 * depth / 20)[:, None].expand(-1, 3))
    xy, _ = project(TWO[1].cameras, splats.means[24 * 18 :])
    v, u = torch.meshgrid(torch.arange(18), torch.arange(24), indexing="ij")
    torch.testing.assert_close(xy[0], torch.stack([u, v], -1).reshape(-1, 2) + 0.5, rtol=0, atol=1e-3)


def test_a_pixel_listens_to_the_output_of_its_own_layer_alone():
    model = model_of(TWO)
    with torch.no_grad():
        model.depth_decoder.last.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
        moved = model.depths_of(model()) > 3.0
    assert torch.equal(moved, torch.cat([v.layers.flatten() for v in TWO]) == 2)


def test_masked_thinned_and_unlike_views():
    views = views_of((24, 18), (40, 20), (17, 33), masked=True)
    model = model_of(views, max_gaussians=600)
    keep = torch.cat([_thinned(v, 2).flatten() for v in views])
    assert torch.equal(model.pixel, keep.nonzero()[:, 0]) and len(model()) == keep.sum()
    assert [m.shape for m in model.layer_maps()] == [v.layers.shape for v in views]
    with torch.no_grad():
        model.depth_decoder.last.bias.copy_(torch.tensor([-5.0, 0.0, 5.0]))
        depth = model.depths_of(model())
    layers = torch.cat([v.layers.flatten() for v in views])[keep]
    torch.testing.assert_close(depth, 2 * (0.5 * (layers - 1.0)).exp(), rtol=0.02, atol=0)


def _thinned(view, stride):
    grid = torch.zeros_like(view.masks[0])
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    return grid & view.masks[0]


def test_a_shrunken_decoder_has_fewer_levels_and_the_same_rows():
    whole, small = model_of(TWO), model_of(TWO, replace(SMALL, shrink=4))
    assert len(small()) == len(whole()) and small.depth_decoder.size == (5, 6)


def test_every_parameter_in_a_group_gets_a_gradient_and_frozen_ones_are_in_none():
    model = model_of(TWO, sh_degree=1)
    model_ids = {id(p) for name, p in model.named_parameters() if name not in ("rows.residual", "rows.opacity_logits")}
    assert {id(p) for g in model.parameter_groups() for p in g.tensors} == model_ids
    splats = model()
    (splats.means.sum() + splats.log_scales.sum() + splats.opacities.sum() + splats.sh.sum()).backward()
    assert all(p.grad is not None and p.grad.any() for g in model.parameter_groups() for p in g.tensors)
    names = {g.name for g in model_of(TWO, replace(SMALL, freeze_dc=True)).parameter_groups()}
    assert "dc" not in names
    free = model_of(TWO, replace(SMALL, decode_depth=False, decode_opacity=False))
    assert {g.name for g in free.parameter_groups()} == {"residual", "opacity_logits", "log_sizes", "dc"}


def test_made_up_rows_stay_where_they_are():
    model = model_of(TWO)
    new = model().detach().rows(slice(0, 7))
    larger = model.extended(new)
    with torch.no_grad():
        larger.depth_decoder.last.bias.fill_(3.0)
        got = larger()
    torch.testing.assert_close(got.means[-7:], new.means, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.opacities[-7:], new.opacities)
    assert (larger.depths_of(got)[:-7] > 2.5).all() and len(got) == len(model()) + len(new)


def test_capacities_beyond_the_published_views():
    expected = {2: (10, 6), 3: (15, 10), 4: (18, 12), 6: (22, 15), 40: (32, 21)}
    assert {n: capacities(n, CoherentConfig()) for n in expected} == expected
    assert capacities(3, SMALL) == (2, 1)


TERMS = SceneTerms(l1=L1(0.0), pyramid=MultiLevelL1(0.8), layered=LayeredTV(0.1), flow=FlowConsistency(0.1))


CONFIG = FitConfig(steps=8)


def run(state, last):
    def shoot(step):
        return Shot(TWO[step % 2], RenderConfig(supersample=1 + step % 3))

    loop = fit(state, shoot, cost_of(TERMS), CONFIG)
    return [step.loss for _, step in zip(range(state.step, last), loop, strict=False)]


def test_resume_from_tensors_gives_the_same_bits():
    matches = [(torch.full((18, 24, 1), 0.45), torch.full((18, 24, 1), 4.0))] * 2
    model, other = model_of(TWO, matches=matches), model_of(TWO, matches=matches)
    unbroken = run(State.begin(model, CONFIG.optim), 8)
    state = State.begin(other, CONFIG.optim)
    run(state, 5)
    saved = copy.deepcopy(state.tensors())
    fresh = Coherent(saved["model"], other.config, other.rows.config)
    resumed = State.begin(fresh, CONFIG.optim)
    resumed.load(saved, 5)
    assert run(resumed, 8) == unbroken[5:]
    for name, value in model.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name


def test_same_seed_same_weights():
    one, same = model_of(TWO), model_of(TWO)
    depths = [torch.full((18, 24), 2.0)] * 2
    none = [(torch.zeros(18, 24, 0), torch.zeros(18, 24, 0))] * 2
    other = Coherent.from_views(TWO, depths, none, SMALL, PixelAlignedConfig(), seed=1)
    weights = [m.depth_decoder.levels[0].weight for m in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_views_without_layers_are_refused():
    with pytest.raises(ValueError, match="depth layer"):
        model_of([replace(v, layers=None) for v in TWO])
