"""T9: the decoder's output has exactly the photo's size, its weights are those of the published table, all are used."""

import pytest
import torch

from gs_reg.models.decoders import ViewDecoder, view_code


@pytest.mark.parametrize("side", range(16, 71))
def test_output_is_exactly_as_large_as_asked(side):
    for height, width in ((side, side), (side, 86 - side), (side, 16), (17, side)):
        assert ViewDecoder(2, height, width, 1, 3)().shape == (2, 3, height, width)


@pytest.mark.parametrize(("height", "width"), [(378, 504), (756, 1008)])
def test_output_at_the_sizes_of_the_benchmark(height, width):
    assert ViewDecoder(1, height, width, 1, 5)().shape == (1, 5, height, width)


@pytest.mark.parametrize(("capacity", "millions"), [(10, 0.743), (15, 1.665), (18, 2.395), (6, 0.270), (12, 1.068)])
def test_weight_counts_are_the_published_ones(capacity, millions):
    count = sum(p.numel() for p in ViewDecoder(3, 378, 504, capacity, 5).parameters())
    assert round(count / 1e6, 3) == millions


def test_sizes_of_the_levels_are_the_published_ones():
    decoder, sizes = ViewDecoder(1, 378, 504, 1, 5), []
    for conv in decoder.levels:
        conv.register_forward_hook(lambda _module, _inputs, out: sizes.append(tuple(out.shape[2:])))
    decoder()
    assert sizes == [(2, 3), (5, 7), (11, 15), (23, 31), (47, 63), (94, 126), (189, 252), (378, 504)]


def test_every_weight_gets_a_gradient():
    decoder = ViewDecoder(3, 37, 50, 2, 5)
    decoder().square().sum().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None and (weight.grad != 0).all(), name


def test_it_starts_near_zero_and_tells_the_views_apart():
    torch.manual_seed(0)
    out = ViewDecoder(3, 48, 64, 15, 5)()
    assert 0 < out.abs().max() < 0.01
    assert (out[0] - out[1]).abs().max() > 1e-4 * out.abs().max()


def test_code_of_two_views_by_hand():
    code = view_code(2)
    torch.testing.assert_close(code[0], torch.tensor([0.0] * 10 + [1.0] * 10))
    powers = torch.tensor([1.0, 8.0])
    torch.testing.assert_close(code[1, [0, 3]], powers.sin())
    torch.testing.assert_close(code[1, [10, 13]], powers.cos())
