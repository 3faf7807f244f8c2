"""What every prior promises."""

from __future__ import annotations

import pytest
import torch

from gs_reg.priors import ExpressionPrior, load_prior
from gs_reg.tensor_dataclass import TensorDataclass


@pytest.fixture(params=["toy", "anny", "ict"])
def prior(request: pytest.FixtureRequest) -> ExpressionPrior:
    return load_prior("toy") if request.param == "toy" else request.getfixturevalue(request.param)


def test_codes_have_names_and_ranges(prior):
    assert isinstance(prior, ExpressionPrior) and prior.unit_m == 0.25 and prior.licence
    assert len(set(prior.channels)) == prior.dim == len(prior.neutral)
    assert (prior.lo <= prior.neutral).all() and (prior.neutral <= prior.hi).all() and (prior.lo < prior.hi).all()


def test_the_neutral_code_moves_nothing(prior):
    sample = prior.surface(None, 200, 1)
    assert torch.equal(sample.points, prior.surface(None, 200, 1).points)
    assert not torch.equal(sample.points, prior.surface(None, 200, 2).points)
    still = prior.forward(sample.points, prior.neutral, part=sample.parts)
    assert torch.allclose(still, sample.points, atol=1e-5)
    assert torch.allclose(prior.backward(sample.points, prior.neutral, part=sample.parts)[0], sample.points, atol=1e-5)
    mesh = prior.posed_mesh(prior.neutral)
    assert mesh is None or (mesh[1].max() == len(mesh[0]) - 1 and mesh[0].shape[1] == 3)


def test_each_code_of_a_batch_moves_its_own_points_and_a_prior_can_be_cast(prior):
    sample = prior.surface(None, 100, 3)
    z = torch.stack([prior.neutral, 0.5 * prior.hi])
    x, parts = sample.points.repeat(2, 1, 1), sample.parts.repeat(2, 1)
    both = prior.forward(x, z, part=parts)
    assert (both[1] - both[0]).norm(dim=1).max() > 0.005
    assert isinstance(prior, TensorDataclass)
    exact = prior.to(dtype=torch.float64)
    again = exact.forward(x.double(), z.double(), part=parts)
    assert again.dtype == torch.float64 and torch.allclose(again.float(), both, atol=1e-4)
