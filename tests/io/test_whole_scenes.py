"""Every splat of real scenes, and of one of degree 3, through every format that we read: each within what it rounds.

`make trials`; the fast tests take every eighth.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gs_reg.io import SUFFIXES, load_splats, save_splats
from gs_reg.neighbors import morton_order
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Splats

from .splat_files import covariances, random_splats

pytestmark = pytest.mark.slow

BYTE = 0.5 / 255 + 1e-6
"""Half of a step of 8 bits from 0 to 1."""


@dataclass(frozen=True)
class Stated:
    """Largest errors; of a covariance as a share of its largest entry, of colours from 0 to 1 as drawn."""

    color: float
    opacity: float
    harmonics: float
    covariance: float
    most_covariances: float
    """Of 99 % of them."""


STATED = {
    ".ply": Stated(0, 0, 0, 0, 0),
    ".glb": Stated(1e-6, 1e-6, 1e-6, 1e-4, 1e-5),
    ".splat": Stated(BYTE, BYTE, np.inf, 0.06, 0.03),
    ".compressed.ply": Stated(0.5 / 255 + 1e-4, BYTE, 1 / 64 + 1e-6, 0.1, 0.04),
    ".spz": Stated(0.5 / 255 / 0.15 * 0.2821 + 1e-6, BYTE, 0.5 / 128 + 1e-6, 0.08, 0.07),
    ".sog": Stated(0.02, BYTE, np.inf, np.inf, 0.06),
}
"""SOG chooses its 256 sizes and its sets of harmonics by how often they occur: rare ones may be far off."""


@pytest.fixture(scope="module", params=["plant.splat", "biker.spz", "degree 3"])
def scene(request) -> Splats:
    if request.param == "degree 3":
        return _degree_3()
    return load_splats(request.getfixturevalue("real_data") / "gaussians" / request.param)


def _degree_3() -> Splats:
    """Harmonics of 500 kinds with noise, as neighbours in a scene are alike."""
    s = random_splats(30_000, 3, seed=1)
    kinds = torch.arange(len(s)) % 500
    s.sh[:, 1:] = 0.3 * s.sh[kinds, 1:] + 0.01 * torch.randn(len(s), 15, 3, generator=torch.manual_seed(2))
    return s


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_splat_comes_back(scene, suffix, tmp_path):
    path, stated = tmp_path / f"a{suffix}", STATED[suffix]
    save_splats(path, scene)
    sorted_rows = suffix in (".compressed.ply", ".sog")
    s = scene.rows(morton_order(scene.means)) if sorted_rows else scene
    read = load_splats(path)
    assert len(read) == len(s)
    moved = (read.means.double() - s.means.double()).abs()
    share = moved / _position_steps(s, suffix)
    assert float(share.nan_to_num(0).max()) <= 1
    color = (sh_to_rgb(read.sh[:, 0]).clamp(0, 1) - sh_to_rgb(s.sh[:, 0]).clamp(0, 1)).abs()
    opacity = (read.opacities - s.opacities).abs()
    before = covariances(s)
    size = before.abs().amax((1, 2)).clamp_min(1e-300)
    covariance = (covariances(read) - before).abs().amax((1, 2)) / size
    degree = min(read.sh_degree, s.sh_degree)
    assert degree == (0 if suffix == ".splat" else s.sh_degree)
    rest = slice(1, (degree + 1) ** 2)
    harmonics = (read.sh[:, rest] - s.sh[:, rest]).abs() if degree else torch.zeros(1)
    most = float(covariance.quantile(0.99))
    print(
        f"\n{suffix} {len(s)} of degree {s.sh_degree}, {path.stat().st_size / 1e6:.2f} MB: "
        f"positions {moved.max():.2g}, "
        f"colours {color.max() * 255:.2f}/255, opacities {opacity.max() * 255:.2f}/255, harmonics "
        f"{harmonics.max():.2g} (rms {harmonics.square().mean().sqrt():.2g}), covariances {covariance.max():.2%}, "
        f"99 % within {most:.2%}"
    )
    assert color.max() <= stated.color
    assert opacity.max() <= stated.opacity
    assert harmonics.max() <= stated.harmonics and harmonics.square().mean().sqrt() <= min(stated.harmonics, 0.02)
    assert covariance.max() <= stated.covariance and most <= stated.most_covariances


def _position_steps(s: Splats, suffix: str) -> torch.Tensor:
    """The largest error along each axis that the format's rounding allows, [N, 3] or one for all."""
    means = s.means.double()
    rounding = means.abs() * 2**-23  # of float32, in between
    if suffix == ".compressed.ply":  # 11, 10 and 11 bits of the range of 256 neighbours
        steps = means.new_tensor([2047, 1023, 2047])
        ranges = [(chunk.amax(0) - chunk.amin(0)).expand(len(chunk), 3) for chunk in means.split(256)]
        return torch.cat(ranges) / steps / 2 + 4 * rounding + 1e-9
    if suffix == ".spz":
        step = 2.0**-16
        while float(means.abs().max()) / step >= 2**23 - 1:
            step *= 2
        return torch.full_like(means, step / 2) + rounding
    if suffix == ".sog":  # 16 bits of the range of log(1 + |x|)
        logs = means.sign() * means.abs().log1p()
        half = (logs.amax(0) - logs.amin(0)) / 65535 / 2
        return (1 + means.abs()) * torch.expm1(half) * 1.01 + 4 * rounding + 1e-6 * (1 + means.abs())
    return torch.zeros_like(means)
