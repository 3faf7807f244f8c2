"""The same comparisons on a real GPU; skipped, with a line that says so, where there is none."""

import pytest
import torch

from gs_reg import _library, _ops
from gs_reg.render import RenderConfig, gsplat, render

from ..render.scenes import leaves, random_scene, rebuilt

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU: our CUDA kernels were not run")
    _library.cuda_library()


def drawn(device, backend, dtype, features=2, **options):
    splats, cameras = random_scene()
    leaf = {k: v.detach().to(device, dtype).requires_grad_() for k, v in leaves(splats, cameras).items()}
    cameras = cameras.to(device, dtype)
    generator = torch.Generator().manual_seed(5)
    more = torch.rand(len(splats), features, generator=generator).to(device, dtype)
    out = render(*rebuilt(leaf, cameras), RenderConfig(backend=backend, **options), features=more)
    image = torch.cat([out.colors, out.alphas, out.depths, out.features], -1)
    upstream = torch.randn(image.shape, generator=generator).to(device, dtype)
    gradients = torch.autograd.grad((image * upstream).sum(), list(leaf.values()))
    return image.detach().cpu().double(), {k: g.cpu().double() for k, g in zip(leaf, gradients, strict=True)}


def assert_close(ours, theirs, image, relative):
    assert (ours[0] - theirs[0]).abs().max() <= image
    for name, gradient in ours[1].items():
        assert (gradient - theirs[1][name]).norm() <= relative * theirs[1][name].norm(), name


@pytest.mark.parametrize("features", [0, 2, 29])
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
def test_float64_equals_the_cpu(mode, features):
    ours = drawn("cuda", "native", torch.float64, features, mode=mode)
    assert_close(ours, drawn("cpu", "native", torch.float64, features, mode=mode), 1e-12, 1e-10)


@pytest.mark.parametrize("features", [0, 2, 29])
def test_float32_within_tolerances(features):
    ours = drawn("cuda", "native", torch.float32, features)
    assert_close(ours, drawn("cpu", "native", torch.float64, features), 1e-5, 1e-4)


def test_repeatable_sums():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        runs = [drawn("cuda", "native", torch.float32, 0) for _ in range(3)]
    finally:
        torch.use_deterministic_algorithms(False)
    for run in runs[1:]:
        assert torch.equal(run[0], runs[0][0])
        assert all(torch.equal(run[1][name], runs[0][1][name]) for name in ("quats", "log_scales"))


def test_equals_gsplat():
    if why := gsplat.missing():
        pytest.skip(f"gsplat: {why[0]}")
    ours, theirs = (drawn("cuda", backend, torch.float32) for backend in ("native", "gsplat"))
    assert_close(ours, theirs, 1e-4, 1e-2)


def test_rays():
    inputs = [torch.randn(1000, dtype=torch.float64) for _ in range(2)]
    inputs += [torch.randn(1000, 3, dtype=torch.float64) for _ in range(3)]
    ours = _ops.along_rays(*[t.cuda() for t in inputs], 0.3)
    for a, b in zip(ours, _ops.along_rays(*inputs, 0.3), strict=True):
        torch.testing.assert_close(a.cpu(), b)
