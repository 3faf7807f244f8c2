"""Sharpening against its definition, the guided filter against a direct one, and the whole chain."""

import pytest
import torch

from gs_reg.diffusion.word_maps import min_max, sharpened
from gs_reg.parts.maps import EPS, guided, part_maps, refined


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.2, 0.7, 1.0])
def test_sharpening_is_softmax_and_min_max(tau):
    maps = min_max(torch.rand(3, 200, dtype=torch.float64))
    assert torch.allclose(sharpened(maps, tau), min_max(torch.softmax(maps / tau, -1) * 1e6), atol=1e-6)


def test_sharpening_does_not_overflow_and_takes_a_tau_of_each_map():
    maps = min_max(torch.rand(2, 50))
    tight = sharpened(maps, 1e-4)
    assert tight.isfinite().all() and tight.max() == 1 and tight.min() == 0
    both = sharpened(maps, torch.tensor([[0.1], [0.7]]))
    assert torch.equal(both[0], sharpened(maps[0], 0.1)) and torch.equal(both[1], sharpened(maps[1], 0.7))
    assert sharpened(min_max(torch.full((1, 5), 3.0)), 0.2).abs().max() == 0  # a map that says nothing


def test_the_guided_filter_is_local_linear_regression():
    """Against least squares in each window, and the mean of the windows' predictions."""
    torch.manual_seed(0)
    maps, picture, radius = (
        torch.rand(2, 7, 6, dtype=torch.float64),
        torch.rand(7, 6, 3, dtype=torch.float64),
        2,
    )
    predictions, counts = torch.zeros_like(maps), torch.zeros(7, 6)
    for y in range(7):
        for x in range(6):
            window = (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
            colors = picture[window].reshape(-1, 3)
            values = maps[:, window[0], window[1]].reshape(2, -1)
            centred = colors - colors.mean(0)
            gram = centred.T @ centred / len(colors) + EPS * torch.eye(3)
            slope = torch.linalg.solve(gram, centred.T @ (values - values.mean(1, keepdim=True)).T / len(colors))
            fitted = values.mean(1)[:, None] + ((picture[window] - colors.mean(0)) @ slope).permute(2, 0, 1).flatten(1)
            predictions[:, window[0], window[1]] += fitted.reshape(predictions[:, window[0], window[1]].shape)
            counts[window] += 1
    assert torch.allclose(guided(maps, picture, radius), predictions / counts, atol=1e-9)


def test_refinement_moves_a_blurred_edge_to_the_picture_s():
    picture = torch.full((1, 16, 512, 3), 0.2)
    picture[:, :, 256:] = torch.tensor([0.9, 0.4, 0.1])
    x = torch.arange(512)
    truth = (x >= 256).float().expand(1, 1, 16, 512)
    blurred = ((x - 246) / 14).clamp(0, 1).expand(1, 1, 16, 512)
    out = refined(blurred, picture)
    assert ((blurred > 0.5) != truth.bool()).sum() == 2 * 16
    assert ((out > 0.5) != truth.bool()).sum() == 0
    assert out[0, 0, 8, 256] - out[0, 0, 8, 255] > 0.4


def test_the_radius_is_a_share_of_the_longer_side():
    maps, picture = torch.rand(1, 1, 16, 64), torch.rand(1, 16, 64, 3)
    assert torch.equal(refined(maps, picture)[0], guided(maps[0], picture[0], 1))
    assert torch.equal(refined(maps, picture, 1 / 8)[0], guided(maps[0], picture[0], 8))


def test_the_chain_gives_maps_from_0_to_1_of_the_picture_s_size():
    torch.manual_seed(0)
    raw, pictures = 100 * torch.randn(2, 3, 4, 6) - 50, torch.rand(2, 32, 48, 3)
    maps = part_maps(raw, torch.tensor([0.1, 0.2, 0.7]), pictures)
    assert maps.shape == (2, 3, 32, 48)
    assert maps.amin((2, 3)).abs().max() == 0 and torch.allclose(maps.amax((2, 3)), torch.ones(2, 3))
    shares = (maps > 0.5).float().mean((0, 2, 3))
    assert shares[0] < shares[2]  # a smaller tau is tighter
