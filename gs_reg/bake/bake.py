"""Baking: the K columns that best explain what an avatar does over its codes, and the way from a code to them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.bake.attributes import ATTRIBUTES, PARTS, deviations, unbent
from gs_reg.bake.basis import Basis, Deformed
from gs_reg.regression import best_fit
from gs_reg.sh import C0
from gs_reg.types import Splats

log = logging.getLogger(__name__)

HIDDEN = (64, 64)
FEWEST = 10
"""Codes to learn from."""
ROUNDING = 1e-6
"""Of the energy of the first column: deviations are kept in 16 bits, and columns below it are their noise."""


@dataclass(frozen=True)
class BakeConfig:
    rank: int = 20
    """Columns; more cost memory and time and lower the error."""
    chunk: int = 4096
    """Gaussians whose products are summed at once."""
    seed: int = 0
    """Of the small network from codes to coefficients."""
    millimetre: float = 1.0
    """Millimetres of motion that count as much as what follows."""
    log_scale: float = 0.1
    """Change of a log-scale."""
    turn: float = 0.1
    """Radians."""
    opacity: float = 0.5
    """Change of an opacity logit."""
    color: float = 0.02
    """Change of a colour from 0 to 1."""


@torch.no_grad()
def bake(
    deformed: Deformed,
    codes: Float[Tensor, "M dim"],
    neutral: Float[Tensor, "dim"],
    channels: Sequence[str],
    unit_m: float,
    config: BakeConfig = BakeConfig(),
    visibility: Float[Tensor, "N"] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Basis:
    """The basis of an avatar over the given codes: those of training, and of whom it is to be driven by.

    `visibility` weighs Gaussians; None = all alike. Deviations of all codes are kept in a temporary file, 26 bytes a
    Gaussian and code.

    Raises:
        ValueError: fewer than FEWEST codes, a rank that is not positive, or channel names of another number.
    """
    if len(codes) < FEWEST:
        raise ValueError(f"codes: expected at least {FEWEST} to learn from, got {len(codes)}")
    if config.rank < 1:
        raise ValueError(f"rank: expected at least 1, got {config.rank}")
    if len(channels) != codes.shape[1]:
        raise ValueError(f"channels: expected {codes.shape[1]} names, got {len(channels)}")
    reference = _plain(deformed(neutral))
    weights = _weights(len(reference), unit_m, config, visibility)
    with tempfile.TemporaryDirectory() as folder:
        shape = (len(codes), ATTRIBUTES, len(reference))
        table = np.memmap(Path(folder) / "deviations", np.float16, "w+", shape=shape)
        for m, code in enumerate(codes):
            by = deviations(_plain(deformed(code)), reference).T
            table[m] = (by * weights).clamp(-6e4, 6e4).numpy()
            progress(m + 1)
        columns, coefficients = principal(table, config)
        del table
    scales, steps = _quantised(columns / weights.numpy())
    regressor, errors = best_fit(codes, torch.from_numpy(coefficients).float(), HIDDEN, seed=config.seed)
    log.info("coefficients: %s", "; ".join(f"{name} rms {fold.rms:.3g}" for name, fold in errors.items()))
    lo, hi = codes.amin(0), codes.amax(0)
    return Basis(reference, steps, scales, regressor, tuple(channels), neutral, lo, hi, unit_m, errors)


def _plain(splats: Splats) -> Splats:
    return unbent(splats.detach().to("cpu", torch.float32))


def _weights(
    count: int, unit_m: float, config: BakeConfig, visibility: Float[Tensor, "N"] | None
) -> Float[Tensor, "13 N"]:
    """One over the deviation that is as bad as another, of each attribute, times the root of the visibility."""
    worth = torch.empty(ATTRIBUTES)
    worth[PARTS["offset"]] = config.millimetre * 1e-3 / unit_m
    worth[PARTS["log_scale"]] = config.log_scale
    worth[PARTS["turn"]] = config.turn
    worth[PARTS["opacity"]] = config.opacity
    worth[PARTS["dc"]] = config.color / C0
    # never 0: rows that no camera saw still have to be told apart from their columns
    seen = torch.ones(count) if visibility is None else visibility.float().cpu().clamp_min(0)
    return (1 / worth)[:, None] * (seen / seen.max().clamp_min(1e-12)).clamp_min(1e-3).sqrt()


def sampled_codes(codes: Float[Tensor, "T dim"], count: int, seed: int = 0) -> Float[Tensor, "M dim"]:
    """Codes to bake over: half of them evenly from a track, a quarter mixes of two, a quarter with single channels of
    another frame, so that the way from codes to coefficients is known beside the track too."""
    g = torch.Generator().manual_seed(seed)
    own = codes[torch.linspace(0, len(codes) - 1, min(len(codes), count // 2)).round().long()]
    more = count - len(own)
    a, b = (codes[torch.randint(len(codes), (more,), generator=g)] for _ in range(2))
    share = torch.rand(more, 1, generator=g)
    swapped = torch.where(torch.rand(more, codes.shape[1], generator=g) < 0.5, a, b)
    mixed = torch.where(torch.arange(more)[:, None] % 2 == 0, a + share * (b - a), swapped)
    together = torch.cat([own, mixed])
    # in a random order: folds of neighbouring rows then hold some of all
    return together[torch.randperm(len(together), generator=g)]


def principal(table: np.ndarray, config: BakeConfig) -> tuple[Float[np.ndarray, "K 13 N"], Float[np.ndarray, "M K"]]:
    """The first columns of the principal components of M rows (not centred, so that neutral stays neutral), and their
    coefficients; by the M x M matrix of products, to which Gaussians are added in chunks."""
    M, _, N = table.shape
    gram = np.zeros((M, M))
    chunks = [slice(start, start + config.chunk) for start in range(0, N, config.chunk)]
    for chunk in chunks:
        part = table[:, :, chunk].reshape(M, -1).astype(np.float32)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][: config.rank]
    # beyond the rank of the rows there is only rounding
    order = order[values[order] > max(values.max(), 1e-30) * ROUNDING]
    sizes = np.sqrt(values[order])
    mixing = (vectors[:, order] / sizes).astype(np.float32)
    columns = np.empty((len(order), ATTRIBUTES, N), np.float32)
    for chunk in chunks:
        part = table[:, :, chunk].reshape(M, -1).astype(np.float32)
        columns[:, :, chunk] = (mixing.T @ part).reshape(len(order), ATTRIBUTES, -1)
    # columns of one size: an error of a coefficient counts alike in all, and the first is of size 1
    size = sizes[0] / np.sqrt(M)
    return columns * np.float32(size), vectors[:, order] * sizes / size


def _quantised(columns: Float[np.ndarray, "K 13 N"]) -> tuple[np.ndarray, np.ndarray]:
    """Steps of 16-bit floats and 8-bit integers, column by column and attribute by attribute."""
    largest = np.abs(columns).max(axis=2) / 127
    # upwards, so that no integer goes beyond 127; never below the smallest number of 16 bits
    scales = np.nextafter(largest.astype(np.float16), np.float16(np.inf)).clip(np.finfo(np.float16).tiny)
    steps = np.rint(columns / scales.astype(np.float32)[:, :, None]).astype(np.int8)
    return scales, steps
