"""Total variation in plain torch, which the operator is tested against where its kernels run (tests/gpu)."""

import torch

from gs_reg import _ops


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


def test_the_operator_has_a_fake():
    _depth, valid, layers, guide = maps()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        sums = _ops.variation(torch.empty(2, 19, 23, requires_grad=True), valid, layers, guide, 0.1)
        assert sums.shape == (2, 4) and sums.dtype == torch.float64
