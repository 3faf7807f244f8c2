"""Jacobians by each mode, the guard, and covariances that they carry along."""

import pytest
import torch

from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.jacobian import exact, from_neighbours, guarded, polar, principal_stretches
from gs_reg.neighbors import gaussian_weights, nearest
from gs_reg.priors.toy import ToyPrior
from tests.fields.test_fields import DIM, GROUPS, inputs, stirred


def rotations(count=20, seed=0):
    return polar(torch.randn(count, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def cloud(count=4000, seed=0):
    """Points of a solid, and their neighbours with weights."""
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
    index, distances = nearest(points, 16)
    return points, index, gaussian_weights(distances)


def test_exact_is_the_fields_own():
    torch.manual_seed(0)
    field = stirred(CoarseField(DIM, GROUPS, width=16))
    x, latent, gates, z = inputs(5)
    want = torch.autograd.functional.jacobian(lambda p: (p + field(p, latent, gates, z)).sum(0), x)
    torch.testing.assert_close(exact(field, x, latent, gates, z), want.transpose(0, 1), rtol=0, atol=1e-5)


def test_neighbours_recover_a_linear_map():
    points, index, weights = cloud()
    linear = torch.eye(3) + 0.2 * torch.randn(3, 3, generator=torch.Generator().manual_seed(2))
    got = from_neighbours(points, points @ linear.T + 1.0, index, weights)
    torch.testing.assert_close(got, linear.expand_as(got), rtol=0, atol=0.01)  # the ridge


def test_neighbours_are_close_on_a_smooth_warp():
    toy = ToyPrior()
    points, index, weights = cloud(20000)
    parts = torch.full((len(points),), 1)
    z = torch.tensor([1.0, 0.5, -0.5, 0.5, 0, 0, 0.3, 0])
    want = toy.jacobian(points.double(), z.double(), parts).float()
    got = from_neighbours(points, toy.forward(points, z, None, parts), index, weights)
    inner = points.abs().amax(1) < 0.45  # whole neighbourhoods
    errors = (got - want).flatten(1).norm(dim=1) / want.flatten(1).norm(dim=1)
    assert float(errors[inner].quantile(0.95)) < 0.05


def test_the_normal_of_a_sheet_rotates_with_it():
    points = cloud(500)[0] * torch.tensor([1.0, 1.0, 0.0])
    index, distances = nearest(points, 8)
    turn = rotations(1)[0].float()
    got = from_neighbours(points, points @ (1.3 * turn).T, index, gaussian_weights(distances))
    torch.testing.assert_close(got[:, :, 2], turn[:, 2].expand(500, 3), rtol=0, atol=1e-4)
    torch.testing.assert_close(got[:, :, 0], 1.3 * turn[:, 0].expand(500, 3), rtol=0, atol=5e-3)


def test_a_node_without_neighbours_stays_as_it_is():
    points, index, weights = cloud(50)
    weights[0] = 0
    assert from_neighbours(points, 2 * points, index, weights).isfinite().all()


def test_the_guard_turns_folds_and_stretches_into_rotations_and_leaves_all_else():
    good = rotations() @ (torch.eye(3, dtype=torch.float64) * 1.5)
    turn = rotations(3, seed=1)
    scale = torch.tensor([[1, 1, 0.04], [7, 1, 1], [1, 1, torch.nan]], dtype=torch.float64)
    mixed = torch.cat([good, turn * scale[:, None]])
    safe, folded = guarded(mixed)
    assert folded.tolist() == [False] * 20 + [True] * 3
    assert torch.equal(safe[:20], good)
    torch.testing.assert_close(safe[20:22], turn[:2])
    torch.testing.assert_close(safe[22], torch.eye(3, dtype=torch.float64))


def test_polar_is_a_rotation_even_of_a_mirror():
    turns = polar(torch.diag_embed(torch.tensor([[1.0, 2.0, -0.5], [-3.0, 1.0, 1.0]])))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(2))
    torch.testing.assert_close(turns[0], torch.eye(3))


@pytest.mark.parametrize("spread", [0.001, 0.003])
def test_covariances_of_small_gaussians_go_with_the_jacobian(spread):
    """Points of a Gaussian pushed through the warp have the covariance J S J^T (T6)."""
    toy = ToyPrior()
    mean, parts = torch.tensor([[0.05, 0.08, 0.35]], dtype=torch.float64), torch.tensor([1])
    z = torch.tensor([1.0, 0.5, -0.5, 0.5, 0, 0, 0.3, 0], dtype=torch.float64)
    axes = rotations(1, seed=3)[0] * torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64) * spread
    draws = torch.randn(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = toy.forward(mean + draws @ axes.T, z, None, parts.expand(200_000))
    covariance = torch.cov(moved.T)
    jacobian = toy.jacobian(mean, z, parts)[0]
    want = jacobian @ axes @ torch.cov(draws.T) @ axes.T @ jacobian.T
    assert float((covariance - want).norm() / want.norm()) < 0.02


def test_principal_stretches_are_the_singular_values():
    J = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(
        500, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(principal_stretches(J), torch.linalg.svdvals(J).flip(1).log(), rtol=1e-5, atol=1e-6)
    plain = torch.stack(
        [torch.eye(3), rotations(1)[0].float(), torch.diag(torch.tensor([2.0, 0.5, 1.0])), torch.zeros(3, 3)]
    )
    found = principal_stretches(plain)
    expected = torch.tensor([[0.0, 0, 0], [0, 0, 0], [-0.6931, 0, 0.6931]])
    torch.testing.assert_close(found[:3], expected, rtol=0, atol=1e-3)
    assert found[3].isfinite().all() and found[3].max() < -6
    assert principal_stretches(torch.full((1, 3, 3), torch.nan)).isnan().all()
