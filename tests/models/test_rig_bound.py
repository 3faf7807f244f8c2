"""Gaussians that are bound to triangles go where these go, and rows come and go with their triangle."""

import pytest
import torch

from gs_reg.edit import Edit
from gs_reg.fit import FitConfig, fit
from gs_reg.models.avatar.start import seen_colors
from gs_reg.models.rig_bound import RigBound, RigBoundConfig, triangle_frames
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
from gs_reg.terms.rig_bound import RigBoundTerms

from ..apps.avatar.ball import BallPrior, ball_capture


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return ball_capture(tmp_path_factory.mktemp("ball"), frames=3)


@pytest.fixture
def model(capture) -> RigBound:
    return RigBound.on_surface(BallPrior(), None, capture.tracks, BallPrior().surface(None, 800, 0))


def test_frames_of_triangles_turn_with_them():
    corners = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]])
    origin, rotation, size = triangle_frames(corners)
    assert torch.allclose(rotation[0] @ rotation[0].T, torch.eye(3)) and rotation[0].det() == pytest.approx(1)
    turn = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    moved = triangle_frames(3 * corners @ turn.T + 1)
    assert torch.allclose(moved[0], 3 * origin @ turn.T + 1) and torch.allclose(moved[1], turn @ rotation, atol=1e-6)
    assert torch.allclose(moved[2], 3 * size) and size[0] == pytest.approx(1.5)


def test_centres_lie_where_the_surface_goes(model, capture):
    sample = BallPrior().surface(None, 800, 0)
    mesh = BallPrior().posed_mesh(capture.tracks.codes[1])
    corners = mesh[0][mesh[1][sample.triangles]]
    points = (corners * sample.barycentric[..., None]).sum(1)
    pose = capture.tracks.pose.matrices()[1]
    splats = model(capture.views(1, [0]))
    # on a triangle that is sheared, its frame turns rigidly: small errors of the size of its strain
    assert (splats.means - (points @ pose[:3, :3].T + pose[:3, 3])).norm(dim=1).max() < 2e-3
    assert torch.allclose(model.canonical().means, sample.points, atol=1e-5)


def test_a_child_is_where_the_edit_puts_it(model):
    canonical = model.canonical().detach()
    rows = torch.tensor([5, 5, 9])
    means = canonical.means[rows] + 0.01
    sizes = canonical.log_scales[rows] - 0.5
    model.edit(Edit(rows=rows, patch={"means": means, "log_scales": sizes, "quats": canonical.quats[rows]}))
    after = model.canonical()
    assert len(after) == 3 and torch.allclose(after.means, means, atol=1e-5)
    assert torch.allclose(after.log_scales, sizes, atol=1e-5)
    assert torch.allclose(after.quats.abs(), canonical.quats[rows].abs(), atol=1e-5)


def test_it_learns_what_it_sees(capture):
    config = RigBoundConfig(lr_color=0.03)
    model = RigBound.on_surface(BallPrior(), None, capture.tracks, BallPrior().surface(None, 800, 0), config)
    state = State.begin(model, FitConfig(30).optim)
    background = torch.zeros(3)

    def shoot(step):
        return Shot(capture.views(step % 3, [0, 1, 3, 4]), background=background)

    steps = list(fit(state, shoot, cost_of(RigBoundTerms()), FitConfig(30)))
    assert sum(s.values["l1"] for s in steps[-3:]) < 0.8 * sum(s.values["l1"] for s in steps[:3])
    assert set(steps[0].values) >= {"l1", "ssim"} and bool((model.codes[:3] != 0).any())
    assert not model.codes[3:].any()  # frames that were not drawn keep their tracked codes


def test_the_first_frame_that_shows_a_gaussian_paints_it(model, capture):
    one, other = capture.views(0, [0]), capture.views(1, [3, 4])
    model.paint(one)
    alone = model.dc.clone()
    model.paint(one, other)
    seen = ~seen_colors(model.solid(one), one).isnan().any(1)
    assert 50 < int(seen.sum()) < len(seen) - 50
    assert torch.equal(model.dc[seen], alone[seen]) and not torch.equal(model.dc, alone)
