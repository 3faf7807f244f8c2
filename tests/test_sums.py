"""The bits of what training adds up, with any number of threads."""

import pytest
import torch

from gs_reg.ssim import masked_mean
from gs_reg.sums import ordered_mean, ordered_sum
from gs_reg.terms.photometric import L1, MultiLevelL1, Ssim
from gs_reg.terms.smoothness import DisparityTV, LayeredTV

from .terms.test_scene_terms import context


def on_threads(count, compute):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return compute()
    finally:
        torch.set_num_threads(before)


def same_on_all(compute):
    one, two, three = (on_threads(count, compute) for count in (1, 2, 3))
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(one, two, three, strict=True))


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 200_003, 4096**2 + 1])
def test_the_sum_is_right(count):
    values = torch.rand(count, generator=torch.Generator().manual_seed(1)) - 0.4
    torch.testing.assert_close(ordered_sum(values).double(), values.double().sum(), rtol=1e-5, atol=1e-4)
    assert ordered_mean(values).isnan() == (count == 0)


def test_its_gradient_is_one():
    values = torch.rand(3, 5, 901, dtype=torch.float64, requires_grad=True)
    assert torch.equal(torch.autograd.grad(ordered_sum(values), values)[0], torch.ones_like(values))


@pytest.mark.parametrize("masked", [False, True])
def test_threads_change_no_bit_of_a_sum(masked):
    values = torch.rand(2, 200, 300, 3, generator=torch.Generator().manual_seed(2))
    mask = values[..., 0] > 0.3 if masked else None
    same_on_all(lambda: (ordered_sum(values), masked_mean(values, mask)))
    several = [values.roll(i, 2) for i in range(8)]  # torch's own: what this is for
    assert any(not torch.equal(on_threads(1, v.sum), on_threads(3, v.sum)) for v in several)


@pytest.mark.parametrize("term", [DisparityTV(0.4), LayeredTV(0.5), MultiLevelL1(0.8), L1(), Ssim()], ids=str)
def test_threads_change_no_bit_of_a_term(term):
    generator = torch.Generator().manual_seed(3)
    colors, seen = (torch.rand(1, 250, 300, 3, generator=generator) for _ in range(2))
    depths, alphas = (0.5 + 0.5 * torch.rand(1, 250, 300, 1, generator=generator) for _ in range(2))
    layers = (3 * depths[..., 0]).to(torch.uint8)

    def value_and_gradients():
        leaf = [t.clone().requires_grad_() for t in (colors, depths, alphas)]
        value = term(context(leaf[0], seen, depths=leaf[1], alphas=leaf[2], layers=layers))
        gradients = torch.autograd.grad(value, leaf, allow_unused=True)
        return [value.detach(), *(g for g in gradients if g is not None)]

    same_on_all(value_and_gradients)
