"""Holes that no photo saw take the far surface around them."""

import pytest
import torch

from gs_reg.data_tools.synthetic import Rig, two_planes
from gs_reg.init.fill import FillConfig, fill_unseen, push_pull
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.render import RenderConfig, render
from gs_reg.types import Splats


@pytest.fixture(scope="module")
def start():
    """Splats of the first photo alone, so that the other cameras see behind the near plane's edge."""
    scene = two_planes(Rig(width=64, height=48, cameras=2, baseline=0.5))
    views = [view.to(dtype=torch.float32) for view in scene.train]
    return scene, views, PixelAligned.from_views(views[:1], [views[0].depths[0]], PixelAlignedConfig())


def test_the_other_view_has_no_holes_left_and_they_lie_on_the_far_plane(start):
    scene, views, model = start
    splats = model().detach()
    new = fill_unseen(splats, [view.cameras for view in views], FillConfig(border=0.15, stride=1))
    assert len(new) > 0 and new.extra["filled"].all()
    camera = views[1].cameras
    before = render(splats, camera, RenderConfig())
    after = render(Splats.joined([splats, new]), camera, RenderConfig())
    holes = before.alphas[0, ..., 0] < 0.5
    assert holes.sum() > 100 and float((after.alphas[0, ..., 0] > 0.8)[holes].float().mean()) > 0.95
    inner = holes.clone()
    inner[:, [0, -1]] = inner[[0, -1]] = False
    error = (after.expected_depths[0, ..., 0] / scene.train[1].depths[0] - 1).abs()[inner]
    assert float(error.median()) < 0.05


def test_nothing_is_made_up_unless_asked_for(start):
    _, views, model = start
    assert len(fill_unseen(model().detach(), [view.cameras for view in views], FillConfig())) == 0


def test_a_model_with_filled_rows_draws_them_where_they_are(start):
    _, views, model = start
    splats = model().detach()
    new = fill_unseen(splats, [view.cameras for view in views], FillConfig(border=0.1))
    larger = model.extended(new)
    got = larger().detach()
    torch.testing.assert_close(got.means[len(splats) :], new.means, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.log_scales[len(splats) :], new.log_scales)
    assert got.extra["filled"].sum() == len(new) and not got.extra["filled"][: len(splats)].any()


def test_push_pull_keeps_what_is_known_and_stays_between():
    values = torch.rand(2, 13, 18, generator=torch.Generator().manual_seed(0))
    known = torch.rand(1, 13, 18, generator=torch.Generator().manual_seed(1)) > 0.7
    out = push_pull(values * known, known.float())
    assert torch.equal(out[known.expand_as(out)], values[known.expand_as(out)])
    assert out.min() >= (values[known.expand_as(out)]).min() - 1e-6 and out.max() <= values.max()
