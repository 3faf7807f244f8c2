"""The same comparisons on a real GPU; skipped, with a line that says so, where there is none."""

import pytest
import torch

from gs_reg import _library, _ops
from gs_reg.apps.bench.scenes import make
from gs_reg.neighbors import gaussian_weights, make_graph
from gs_reg.render import RenderConfig, gsplat, render

from ..ops.test_bumps import all_of, blended, bumps
from ..ops.test_variation import maps, sums_in_torch
from ..render.scenes import leaves, random_scene, rebuilt
from .compare import NativeStep, captured
from .scenes import Inputs, native_with_counts
from .test_lift import assert_close as close_lifted
from .test_lift import lifted

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


@pytest.mark.parametrize("features", [0, 7])
def test_repeatable_sums(features):
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        runs = [drawn("cuda", "native", torch.float32, features) for _ in range(3)]
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


def on_both(function, *inputs):
    """What a function returns for CPU tensors, and for CUDA ones; gradients of the first input's sum of outputs."""
    out = []
    for device in ("cpu", "cuda"):
        moved = [t.to(device) if isinstance(t, torch.Tensor) else t for t in inputs]
        moved[0] = moved[0].detach().requires_grad_(moved[0].is_floating_point())
        results = function(*moved)
        found = [r.detach().cpu() for r in results]
        if results[0].requires_grad:
            found.append(torch.autograd.grad(sum(r.sum() for r in results if r.requires_grad), moved[0])[0].cpu())
        out.append(found)
    return zip(*out, strict=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_photometric(dtype):
    x, y, mask = (
        torch.rand(2, 37, 50, 3, dtype=dtype),
        torch.rand(2, 37, 50, 3, dtype=dtype),
        torch.rand(2, 37, 50) > 0.3,
    )
    for theirs, ours in on_both(lambda a, b, m: _ops.photometric(a, b, m, True)[:2], x, y, mask):
        torch.testing.assert_close(ours, theirs, rtol=1e-4 if dtype == torch.float32 else 1e-10, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "k"), [(17, 16), (20_000, 16), (3000, 64)])
def test_nearest(dtype, count, k):
    points = torch.randn(count, 3, dtype=dtype)
    for queries in (None, torch.cat([torch.randn(500, 3, dtype=dtype), points[:40]])):
        for theirs, ours in on_both(_ops.nearest, points, k, queries):
            assert torch.equal(ours, theirs)


def test_laplacian():
    points = torch.randn(2000, 3, dtype=torch.float64)
    index, distances = _ops.nearest(points, 8, None)
    graph = make_graph(index, gaussian_weights(distances))
    edges = [graph.offsets, graph.nodes, graph.weights]
    back = [graph.back_offsets, graph.back_nodes, graph.back_weights, graph.excess]

    def laplacian(features, factors, *rest):
        return _ops.laplacian(features, factors, rest[:3], rest[3:])[:1]

    features, factors = torch.randn(2000, 21, dtype=torch.float64), torch.rand(21, dtype=torch.float64)
    for theirs, ours in on_both(laplacian, features, factors, *edges, *back):
        torch.testing.assert_close(ours, theirs)


def test_variation():
    depth, valid, layers, guide = maps()
    expected = sums_in_torch(depth, valid, layers, guide, 0.1)
    got = _ops.variation(depth.cuda(), valid.cuda(), layers.cuda(), guide.cuda(), 0.1)
    torch.testing.assert_close(got.cpu(), expected)


def test_bumps():
    given = bumps(points=3000, count=400)
    want, got = all_of(blended, given), all_of(blended, [t.cuda() for t in given])
    for mine, judge in zip(got, want, strict=True):
        torch.testing.assert_close(mine.cpu(), judge)


def test_adam():
    values, gradients = torch.randn(500, 3, device="cuda"), torch.randn(500, 3, device="cuda")
    theirs = values.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.02, eps=1e-15)
    mean, square = torch.zeros_like(values), torch.zeros_like(values)
    for step in range(1, 5):
        theirs.grad = gradients * step
        optimizer.step()
        _ops.adam(values, gradients * step, mean, square, lr=0.02, betas=(0.9, 0.999), eps=1e-15, step=step)
    torch.testing.assert_close(values, theirs.detach(), atol=1e-6, rtol=1e-5)


def test_copies_of_mcmc_are_gsplats():
    if why := gsplat.missing():
        pytest.skip(f"gsplat: {why[0]}")
    from gsplat.relocation import compute_relocation

    opacities, counts = torch.rand(200) * 0.98 + 0.01, torch.randint(2, 20, (200,))
    binoms = gsplat.strategies()[1]().initialize_state()["binoms"].cuda()
    scales = torch.ones(200, 3, device="cuda")
    theirs = compute_relocation(opacities.cuda(), scales, counts.cuda(), binoms)
    ours = compute_relocation(opacities, counts)
    torch.testing.assert_close(ours[0], theirs[0].cpu(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours[1], theirs[1][:, 0].cpu(), atol=1e-4, rtol=1e-3)


def test_a_captured_step_is_an_eager_one():
    """Nothing waits for the GPU once capacities are given, or the capture would fail; and it learns the same."""
    scene = make("tiny")
    photo = torch.rand(1, 256, 256, 3, device="cuda")
    most = tuple(int(1.2 * n) for n in native_with_counts(Inputs.of(scene, "cuda"))[2].tolist())
    eager, replayed = Inputs.of(scene, "cuda"), Inputs.of(scene, "cuda")
    step = NativeStep(eager, photo)
    for number in range(1, 5):
        step(number)
    graph = captured(replayed, photo, most)
    for _ in range(4):
        graph()
    for name, value in eager.leaf.items():
        assert not torch.equal(value, Inputs.of(scene, "cuda").leaf[name])
        torch.testing.assert_close(replayed.leaf[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("features", [0, 2])
def test_small_scenes_for_the_sanitizer(features):
    """Every kernel of a training step once, on little: what compute-sanitizer watches."""
    image, gradients = drawn("cuda", "native", torch.float32, features, absgrad=True)
    assert torch.isfinite(image).all() and all(torch.isfinite(g).all() for g in gradients.values())
    test_photometric(torch.float32)
    test_nearest(torch.float32, 300, 16)
    test_laplacian()
    test_variation()
    test_bumps()
    test_adam()


@pytest.mark.parametrize("channels", [1, 3, 8, 40])
@pytest.mark.parametrize("deterministic", [False, True])
def test_lift_equals_the_cpu(channels, deterministic):
    torch.use_deterministic_algorithms(deterministic)
    try:
        ours = lifted(channels, device="cuda")
        close_lifted(ours, lifted(channels))
        close_lifted(lifted(channels, torch.float32, device="cuda"), ours, limit=2e-5)
    finally:
        torch.use_deterministic_algorithms(False)
