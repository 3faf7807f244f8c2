"""The fused loss against the sum of its parts in torch."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.ssim import l1_and_dssim, masked_mean, ssim_map

SHAPES = [(1, 37, 300, 3), (2, 5, 4, 1), (1, 1, 1, 3), (1, 40, 129, 2), (1, 9, 64, 5)]


def pair(shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2)]


def reference(x, y, mask):
    return masked_mean((x - y).abs(), mask), masked_mean(1 - ssim_map(x, y), mask)


def gradient(function, x, *rest):
    l1, dssim = function(x, *rest)
    return torch.autograd.grad(0.8 * l1 + 0.2 * dssim, x)[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["all", "some", "none"])
def test_matches_torch(isa, shape, kind):
    x, y = pair(shape)
    mask = {"all": None, "some": torch.rand(shape[:3]) > 0.3, "none": torch.zeros(shape[:3], dtype=torch.bool)}[kind]
    x.requires_grad_()
    torch.testing.assert_close(l1_and_dssim(x, y, mask), reference(x, y, mask), atol=1e-13, rtol=1e-12)
    expected = gradient(reference, x, y, mask)
    torch.testing.assert_close(gradient(l1_and_dssim, x, y, mask), expected, atol=1e-15, rtol=1e-10)
    single = gradient(l1_and_dssim, x.detach().float().requires_grad_(), y.float(), mask)
    assert (single - expected).abs().max() <= 2e-4 * expected.abs().max()


def test_gradcheck():
    x, y = pair((1, 7, 6, 3))
    mask = torch.rand(1, 7, 6) > 0.2
    assert torch.autograd.gradcheck(lambda image: l1_and_dssim(image, y, mask), x.requires_grad_())


def test_reads_the_colours_of_a_larger_image_in_place():
    larger, y = torch.rand(2, 20, 30, 4), torch.rand(2, 20, 30, 3)
    for x in (larger[..., :3], larger[..., 1:]):
        assert torch.equal(torch.stack(l1_and_dssim(x, y)), torch.stack(l1_and_dssim(x.contiguous(), y)))
        with_gap, without = (gradient(l1_and_dssim, v.requires_grad_(), y) for v in (x, x.detach().clone()))
        assert torch.equal(with_gap, without)


def test_same_bits_for_any_number_of_threads(isa):
    x, y = pair((1, 50, 400, 3), torch.float32)
    out, threads_before = [], torch.get_num_threads()
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        out.append((*l1_and_dssim(x, y), gradient(l1_and_dssim, x.clone().requires_grad_(), y)))
    torch.set_num_threads(threads_before)
    for other in out[1:]:
        assert all(torch.equal(a, b) for a, b in zip(out[0], other, strict=True))


def test_equal_images_cost_nothing():
    x, _ = pair((1, 20, 20, 3), torch.float32)
    l1, dssim = l1_and_dssim(x, x)
    assert l1 == 0 and dssim.abs() < 1e-6
    assert gradient(l1_and_dssim, x.clone().requires_grad_(), x).abs().max() < 1e-6


def test_no_pixels():
    x = torch.zeros(1, 0, 5, 3, requires_grad=True)
    assert gradient(l1_and_dssim, x, torch.zeros(1, 0, 5, 3)).shape == x.shape


def test_opcheck():
    x, y = pair((1, 12, 10, 3))
    torch.library.opcheck(_ops.photometric.library_op, (x.requires_grad_(), y, torch.rand(1, 12, 10) > 0.5, True))
    torch.library.opcheck(_ops.photometric.library_op, (x.detach(), y, None, False))
