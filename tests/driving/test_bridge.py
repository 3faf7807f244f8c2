"""T20: codes of another prior from ARKit coefficients, on synthetic pairs."""

import logging

import pytest
import torch

from gs_reg import regression
from gs_reg.driving.bridge import Bridge, fit_bridge
from gs_reg.regression import fit_ridge, folds


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(regression, "STEPS", 150)


def pairs(bent: bool, n=120, dim=6, noise=0.05) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random coefficients; codes are a linear map of them, or of their products."""
    g = torch.Generator().manual_seed(0)
    arkit = torch.sigmoid(3 * torch.randn(n, 3, generator=g) @ torch.randn(3, 52, generator=g) / 3**0.5 - 1)
    x = arkit - arkit.mean(0)
    y = x @ torch.randn(52, dim, generator=g) / 4
    if bent:
        y = y + 16 * (x @ torch.randn(52, dim, generator=g) / 4).square()
    return arkit, y + noise * torch.randn(n, dim, generator=g)


def test_linear_pairs_by_ridge(caplog):
    arkit, codes = pairs(bent=False)
    with caplog.at_level(logging.INFO):
        bridge = fit_bridge(arkit, codes)
    assert bridge.kind == "ridge" and bridge.errors["ridge"].r2 > 0.8
    assert float((bridge(arkit) - codes).square().mean() / codes.var()) < 0.05
    assert "ridge rms" in caplog.text and "mlp rms" in caplog.text


def test_pairs_without_noise_need_no_network():
    arkit, codes = pairs(bent=False, noise=0.0)
    bridge = fit_bridge(arkit, codes)
    assert bridge.kind == "ridge" and list(bridge.errors) == ["ridge"] and bridge.errors["ridge"].r2 > 0.9999


def test_bent_pairs_by_the_mlp():
    arkit, codes = pairs(bent=True)
    bridge = fit_bridge(arkit, codes)
    assert bridge.kind == "mlp"
    assert bridge.errors["mlp"].r2 > 0.8
    assert bridge.errors["mlp"].rms < 0.95 * bridge.errors["ridge"].rms


def test_it_is_stored_in_tensors_and_is_the_same_from_the_same_seed():
    arkit, codes = pairs(bent=True, n=40)
    bridge, again = fit_bridge(arkit, codes), fit_bridge(arkit, codes)
    assert bridge.kind == "mlp"
    read = Bridge.of_tensors(bridge.tensors())
    assert torch.equal(read(arkit), bridge(arkit)) and torch.equal(again(arkit), bridge(arkit))
    assert read.errors["mlp"].rms == pytest.approx(bridge.errors["mlp"].rms)


def test_codes_that_have_nothing_to_do_with_it_are_not_explained():
    arkit, codes = pairs(bent=False)
    noise = torch.randn(codes.shape, generator=torch.Generator().manual_seed(9))
    assert folds(arkit, noise, lambda x, y: fit_ridge(x, y, 1.0)).r2 < 0.05


def test_too_few_pairs_are_refused():
    arkit, codes = pairs(bent=False, n=9)
    with pytest.raises(ValueError, match="at least ten"):
        fit_bridge(arkit, codes)


def test_a_bridge_whose_tensors_do_not_fit_is_refused():
    tensors = fit_bridge(torch.rand(20, 52), torch.rand(20, 3)).tensors()
    for name, value in (
        ("mean", torch.zeros(51)),
        ("scale", torch.zeros(52)),
        ("w.0", torch.zeros(3, 51)),
        ("b.0", torch.zeros(2)),
        ("w.0", torch.full((3, 52), torch.nan)),
        ("w.0", torch.zeros(3, 52, dtype=torch.int64)),
    ):
        with pytest.raises(ValueError, match="regressor: "):
            Bridge.of_tensors({**tensors, name: value})
