"""The toy head: its inverse, its Jacobian, its slit."""

from __future__ import annotations

import pytest
import torch

from gs_reg.priors import Part
from gs_reg.priors.toy import ToyPrior

TOY = ToyPrior()


def _draw(count: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    sample = TOY.surface(None, count, seed)
    z = TOY.lo + (TOY.hi - TOY.lo) * torch.rand(3, TOY.dim, generator=generator)
    x = sample.points + 0.02 * torch.randn(count, 3, generator=generator)
    return x.double().repeat(3, 1, 1), z.double(), sample.parts.repeat(3, 1)


def test_backward_undoes_forward():
    x, z, parts = _draw(500)
    posed = TOY.forward(x, z, part=parts)
    assert (posed - x).norm(dim=-1).max() > 0.02
    back, hyper = TOY.backward(posed, z, part=parts)
    assert (back - x).abs().max() < 1e-9
    assert (hyper[parts == Part.LIP_LOWER] == -1).all() and (hyper[parts == Part.LIP_UPPER] == 1).all()


def test_each_code_moves_its_own_set_of_points():
    x, z, parts = _draw(50)
    alone = torch.stack([TOY.forward(x[i], z[i], part=parts[i]) for i in range(3)])
    assert torch.equal(TOY.forward(x, z, part=parts), alone)


def test_the_jacobian_is_that_of_finite_differences():
    x, z, parts = _draw(200, seed=1)
    step = 1e-6
    columns = [
        TOY.forward(x + step * e, z, part=parts) - TOY.forward(x - step * e, z, part=parts)
        for e in torch.eye(3, dtype=torch.float64)
    ]
    jacobian = TOY.jacobian(x, z, part=parts)
    assert (torch.stack(columns, dim=-1) / (2 * step) - jacobian).abs().max() < 1e-6
    assert torch.linalg.det(jacobian).min() > 0.1


def test_the_lips_touch_and_part():
    sample = TOY.surface(None, 1000, 2)
    upper, lower = (torch.full((1000,), int(part)) for part in (Part.LIP_UPPER, Part.LIP_LOWER))
    slit = (sample.points[:, 1] == 0) & (sample.points[:, 0].abs() < 0.05)
    z = TOY.neutral.index_fill(0, torch.tensor(0), 1.0)
    gap = TOY.forward(sample.points, z, part=upper) - TOY.forward(sample.points, z, part=lower)
    assert slit.sum() > 20 and (gap[slit, 1] > 0.02).all()
    both = sample.parts[slit]
    assert (both == Part.LIP_UPPER).any() and (both == Part.LIP_LOWER).any()
    assert (sample.normals[slit & (sample.parts == Part.LIP_UPPER), 1] < 0).all()


def test_all_codes_in_range_can_be_undone_and_larger_ones_are_refused():
    x = torch.zeros(1, 3)
    TOY.forward(x, TOY.hi), TOY.forward(x, torch.cat([TOY.hi[:1], TOY.lo[1:]]))
    with pytest.raises(ValueError, match="undone up to a slope"):
        TOY.forward(x, 1.3 * TOY.hi)
    with pytest.raises(ValueError, match="undone"):
        TOY.backward(x, float("nan") * TOY.hi)
