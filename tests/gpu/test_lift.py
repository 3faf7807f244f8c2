"""The CUDA kernels of lifting, emulated, against the CPU library."""

import pytest
import torch

from gs_reg.render import RenderConfig, lift, project

from ..render.scenes import random_scene

NAMES = ("sums", "weights", "largest")


def lifted(channels, dtype=torch.float64, count=60, device="cpu", **options):
    splats, cameras = random_scene(count=count, width=29, height=31)
    config = RenderConfig(backend="native", **options)
    projected = project(splats.to(device, dtype), cameras.to(device, dtype), config)
    maps = torch.randn(2, 31, 29, channels, generator=torch.Generator().manual_seed(channels), dtype=torch.float64)
    found = lift(projected, maps.to(device, dtype))
    return {name: getattr(found, name).cpu() for name in NAMES}


def assert_close(ours, theirs, limit=1e-10):
    for name, want in theirs.items():
        assert want.numel() == 0 or want.abs().sum() > 0, name
        assert (ours[name].double() - want.double()).norm() <= limit * want.double().norm(), name


@pytest.mark.parametrize("channels", [0, 1, 3, 4, 8, 21, 40])
def test_float64(emulated, channels):
    with emulated(seed=channels):
        ours = lifted(channels)
    assert_close(ours, lifted(channels))


@pytest.mark.parametrize("channels", [3, 8, 21])
def test_float32_within_tolerances(emulated, channels):
    with emulated():
        ours = lifted(channels, torch.float32)
    assert_close(ours, lifted(channels), limit=2e-5)


def test_without_cutoffs(emulated):
    options = {"alpha_min": 0.0, "alpha_max": 1.0, "transmittance_min": 0.0}
    with emulated(seed=2):
        ours = lifted(5, **options)
    assert_close(ours, lifted(5, **options))


@pytest.mark.parametrize("channels", [3, 40])
def test_repeatable_sums(emulated, channels):
    """With torch's deterministic algorithms: the same bits whatever the order of lanes, and the same values."""
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for seed in (0, 5, 6):
            with emulated(seed):
                runs.append(lifted(channels, torch.float32))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(runs[0], lifted(channels), limit=2e-5)
    for run in runs[1:]:
        assert all(torch.equal(run[name], runs[0][name]) for name in NAMES)


def test_no_splats(emulated):
    with emulated():
        found = lifted(3, count=0)
    assert [found[name].shape for name in NAMES] == [(2, 0, 3), (2, 0), (2, 0)]
