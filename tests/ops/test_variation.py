"""Total variation of a map with holes against plain torch."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.terms.smoothness import pair_sums_reference


def maps():
    """A map with holes, its layers, and a picture that guides it."""
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand(2, 19, 23, generator=generator, dtype=torch.float64)
    depth[0, 3] = 0.5  # pairs without a difference
    valid = torch.rand(2, 19, 23, generator=generator) > 0.2
    layers = torch.randint(0, 3, (2, 19, 23), generator=generator, dtype=torch.uint8)
    return depth, valid, layers, torch.rand(2, 19, 23, 3, generator=generator, dtype=torch.float64)


def sums_in_torch(depth, valid, layers, guide, edge):
    rows = []
    for dim in (2, 1):
        near, far = (slice(None),) * dim + (slice(None, -1),), (slice(None),) * dim + (slice(1, None),)
        steps, both = (depth[far] - depth[near]).abs(), valid[far] & valid[near]
        within = both & (layers[far] == layers[near]) if layers is not None else torch.zeros_like(both)
        if guide is not None:
            steps = steps * torch.exp(-(guide[far] - guide[near]).abs().sum(-1) / (3 * edge))
        rows.append(torch.stack([(steps * both).sum(), both.sum(), (steps * within).sum(), within.sum()]))
    return torch.stack(rows)


def value_and_gradient(function, depth, *rest):
    leaf = depth.clone().requires_grad_()
    sums = function(leaf, *rest)
    weights = torch.tensor([[1.0, 5, 0.3, 2], [0.7, 1, 2, 9]])
    return sums.detach(), torch.autograd.grad((weights * sums).sum(), leaf)[0]


@pytest.mark.parametrize("with_layers", [True, False])
@pytest.mark.parametrize("with_guide", [True, False])
def test_matches_torch(isa, with_layers, with_guide):
    depth, valid, layers, guide = maps()
    rest = valid, layers if with_layers else None, guide if with_guide else None, 0.1
    want = value_and_gradient(sums_in_torch, depth, *rest)
    for mine, judge in zip(value_and_gradient(_ops.variation, depth, *rest), want, strict=True):
        torch.testing.assert_close(mine, judge, atol=1e-13, rtol=1e-12)
    for mine, judge in zip(value_and_gradient(pair_sums_reference, depth, *rest), want, strict=True):
        torch.testing.assert_close(mine, judge, atol=1e-13, rtol=1e-12)
    single = valid, rest[1], guide.float() if with_guide else None, 0.1
    for mine, judge in zip(value_and_gradient(_ops.variation, depth.float(), *single), want, strict=True):
        torch.testing.assert_close(mine.double(), judge, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 40), (1, 40, 1), (3, 17, 16), (0, 4, 4)], ids=str)
def test_odd_shapes(isa, shape):
    generator = torch.Generator().manual_seed(1)
    depth = torch.rand(shape, generator=generator, dtype=torch.float64)
    rest = (
        depth > 0.2,
        (5 * depth).to(torch.uint8),
        torch.rand(*shape, 3, generator=generator, dtype=torch.float64),
        0.3,
    )
    pairs = value_and_gradient(_ops.variation, depth, *rest), value_and_gradient(sums_in_torch, depth, *rest)
    for mine, judge in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, judge, atol=1e-13, rtol=1e-12)


def test_holes_may_hold_anything(isa):
    depth, valid, layers, guide = maps()
    rest = valid, layers, guide, 0.1
    want = value_and_gradient(_ops.variation, depth, *rest)
    for value in (torch.nan, torch.inf):
        for mine, judge in zip(
            value_and_gradient(_ops.variation, depth.masked_fill(~valid, value), *rest), want, strict=True
        ):
            assert torch.equal(mine, judge)


def test_same_bits_for_any_number_of_threads(isa):
    depth = torch.rand(1, 150, 64)
    rest = depth > 0.1, None, torch.rand(1, 150, 64, 3), 0.1
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(value_and_gradient(_ops.variation, depth, *rest))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_operator_has_a_fake():
    _depth, valid, layers, guide = maps()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        sums = _ops.variation(torch.empty(2, 19, 23, requires_grad=True), valid, layers, guide, 0.1)
        assert sums.shape == (2, 4) and sums.dtype == torch.float64
