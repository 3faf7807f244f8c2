"""Small regressions from one vector to another: ridge, or an MLP where folds of the data say that it is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of standardised inputs, per row."""
STEPS, RATE = 400, 1e-2
EXPLAINED = 0.9999
"""Share of the variance that ridge explains, above which no network is tried."""


@dataclass(frozen=True)
class Regressor:
    """Linear layers with SiLU between them, on standardised inputs."""

    mean: Float[Tensor, "I"]
    scale: Float[Tensor, "I"]
    layers: tuple[tuple[Float[Tensor, "_ _"], Float[Tensor, "_"]], ...]
    """Weights [out, in] and biases [out]."""

    def __call__(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        h = (x - self.mean) / self.scale
        for k, (weight, bias) in enumerate(self.layers):
            h = F.linear(h if k == 0 else F.silu(h), weight, bias)
        return h

    def tensors(self) -> dict[str, Tensor]:
        """For a file of tensors; `of_tensors` reads them back."""
        layers = {f"{kind}.{k}": t for k, pair in enumerate(self.layers) for kind, t in zip("wb", pair, strict=True)}
        return {"mean": self.mean, "scale": self.scale, **layers}

    @staticmethod
    def of_tensors(tensors: Mapping[str, Tensor]) -> Regressor:
        """Raises KeyError where a tensor is missing, ValueError where they do not fit each other or are not finite."""
        count = sum(name.startswith("w.") for name in tensors)
        layers = tuple((tensors[f"w.{k}"], tensors[f"b.{k}"]) for k in range(count))
        mean, scale = tensors["mean"], tensors["scale"]
        parts = [mean, scale, *(tensor for layer in layers for tensor in layer)]
        if not layers or not all(part.dtype == torch.float32 and bool(part.isfinite().all()) for part in parts):
            raise ValueError("regressor: expected layers of finite numbers of 32 bits")
        size = mean.shape
        for weight, bias in layers:
            if len(size) != 1 or weight.ndim != 2 or weight.shape[1:] != size or bias.shape != weight.shape[:1]:
                raise ValueError(f"regressor: weights {list(weight.shape)} and biases {list(bias.shape)} do not fit")
            size = bias.shape
        if scale.shape != mean.shape or not bool((scale > 0).all()):
            raise ValueError(f"regressor: scale: expected {list(mean.shape)} above 0, got {list(scale.shape)}")
        return Regressor(mean, scale, layers)


@dataclass(frozen=True)
class Folds:
    """Errors on rows that were left out of the fit, five times."""

    rms: float
    """Root mean square, in the outputs' unit."""
    r2: float
    """Share of the variance that is explained, pooled over channels."""


def fit_ridge(x: Float[Tensor, "M I"], y: Float[Tensor, "M O"], ridge: float) -> Regressor:
    """Least squares with a penalty on weights, not on the offset, in double precision."""
    mean, scale = _statistics(x)
    a = ((x - mean) / scale).double()
    middle = y.double().mean(0)
    gram = a.T @ a + ridge * len(a) * torch.eye(a.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, a.T @ (y.double() - middle))
    return Regressor(mean, scale, ((weight.T.contiguous().to(y), middle.to(y)),))


@torch.enable_grad()
def fit_mlp(
    x: Float[Tensor, "M I"], y: Float[Tensor, "M O"], hidden: Sequence[int], seed: int, weight_decay: float = 1e-3
) -> Regressor:
    """An MLP by full-batch AdamW on standardised outputs, the same from the same seed."""
    mean, scale = _statistics(x)
    out_mean, out_scale = y.mean(0), y.std(0, correction=0).mean().clamp_min(1e-12)
    generator = torch.Generator().manual_seed(seed)
    sizes = [x.shape[1], *hidden, y.shape[1]]
    layers: list[tuple[Tensor, Tensor]] = []
    for a, b in pairwise(sizes):
        weight = torch.randn(b, a, generator=generator) / a**0.5
        layers.append((nn.Parameter(weight), nn.Parameter(torch.zeros(b))))
    model = Regressor(mean, scale, tuple(layers))
    target = (y - out_mean) / out_scale
    optimizer = torch.optim.AdamW([p for pair in layers for p in pair], RATE, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (model(x) - target).square().mean().backward()
        optimizer.step()
        schedule.step()
    done = [(weight.detach(), bias.detach()) for weight, bias in layers]
    done[-1] = (done[-1][0] * out_scale, done[-1][1] * out_scale + out_mean)
    return Regressor(mean, scale, tuple(done))


def best_fit(
    x: Float[Tensor, "M I"], y: Float[Tensor, "M O"], hidden: Sequence[int], better: float = 0.05, seed: int = 0
) -> tuple[Regressor, dict[str, Folds]]:
    """Ridge, or the MLP where it lowers the error of folds by the share `better`; and the errors of what was tried.

    Folds are blocks of neighbouring rows, as those of a video are nearly equal.

    Raises:
        ValueError: fewer than ten rows.
    """
    if len(x) < 10:
        raise ValueError(f"expected at least ten pairs to learn from, got {len(x)}")
    ridges = {ridge: folds(x, y, lambda a, b, r=ridge: fit_ridge(a, b, r)) for ridge in RIDGES}
    ridge = min(ridges, key=lambda r: ridges[r].rms)
    errors = {"ridge": ridges[ridge]}
    if errors["ridge"].r2 > EXPLAINED:
        return fit_ridge(x, y, ridge), errors
    errors["mlp"] = folds(x, y, lambda a, b: fit_mlp(a, b, hidden, seed))
    if errors["mlp"].rms < (1 - better) * errors["ridge"].rms:
        return fit_mlp(x, y, hidden, seed), errors
    return fit_ridge(x, y, ridge), errors


def folds(x: Float[Tensor, "M I"], y: Float[Tensor, "M O"], fit, count: int = 5) -> Folds:
    """The errors of `fit(x, y)` on each of `count` blocks, learned from the others."""
    errors = torch.empty_like(y)
    for block in torch.arange(len(x)).chunk(count):
        others = torch.ones(len(x), dtype=torch.bool)
        others[block] = False
        errors[block] = fit(x[others], y[others])(x[block]) - y[block]
    variance = (y - y.mean(0)).square().mean().clamp_min(1e-20)
    mean_square = errors.square().mean()
    return Folds(float(mean_square.sqrt()), float(1 - mean_square / variance))


def _statistics(x: Float[Tensor, "M I"]) -> tuple[Tensor, Tensor]:
    """Mean and scale; channels that hardly move are not blown up."""
    scale = x.std(0, correction=0)
    return x.mean(0), scale.clamp_min(0.05 * float(scale.max())).clamp_min(1e-8)
