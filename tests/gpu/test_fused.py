"""The operators around the rasterizer: the CUDA kernels, emulated, against the CPU library and plain torch."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.neighbors import gaussian_weights, laplacian_energy, laplacian_energy_reference, make_graph, nearest
from gs_reg.ssim import l1_and_dssim, masked_mean, ssim_map

from ..ops.test_adam import moved_rows
from ..ops.test_adam import state as adam_state
from ..ops.test_bumps import all_of, blended, bumps, in_torch
from ..ops.test_nearest import by_brute_force, cloud, of_queries_by_brute_force
from ..ops.test_variation import maps, sums_in_torch

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("shape", [(1, 37, 50, 3), (2, 5, 4, 1), (1, 1, 1, 3), (1, 16, 32, 2)], ids=str)
@pytest.mark.parametrize("kind", ["all", "some", "none"])
def test_photometric(emulated, shape, kind):
    generator = torch.Generator().manual_seed(0)
    larger, y = (torch.rand(*shape[:3], n, generator=generator, dtype=torch.float64) for n in (shape[3] + 2, shape[3]))
    mask = {"all": None, "some": torch.rand(shape[:3], generator=generator) > 0.3, "none": torch.zeros(shape[:3]) > 0}
    x = larger.requires_grad_()[..., : shape[3]]  # a slice, read in place

    def value_and_gradient(function, *inputs):
        l1, dssim = function(*inputs)
        return l1.detach(), dssim.detach(), *torch.autograd.grad(0.8 * l1 + 0.2 * dssim, larger)

    def reference(a, b, m):
        return masked_mean((a - b).abs(), m), masked_mean(1 - ssim_map(a, b), m)

    expected = value_and_gradient(reference, x, y, mask[kind])
    with emulated(seed=len(kind)):
        got = value_and_gradient(l1_and_dssim, x, y, mask[kind])
        single = value_and_gradient(l1_and_dssim, x.float(), y.float(), mask[kind])
    for a, b, c in zip(got, expected, single, strict=True):
        torch.testing.assert_close(a, b, atol=1e-14, rtol=1e-10)
        assert (c - b).abs().max() <= 2e-4 * b.abs().max()


def test_photometric_without_gradient(emulated):
    x, y = torch.rand(1, 20, 30, 3), torch.rand(1, 20, 30, 3)
    with emulated():
        got = l1_and_dssim(x, y)
    torch.testing.assert_close(got, l1_and_dssim(x, y))


@pytest.mark.parametrize("channels", [1, 8, 21])
def test_laplacian(emulated, channels):
    neighbors, distances = nearest(cloud(300), 6)
    generator = torch.Generator().manual_seed(channels)
    features = torch.randn(300, channels, generator=generator, dtype=torch.float64).requires_grad_()
    attributes = torch.rand(channels, generator=generator, dtype=torch.float64)
    graph = make_graph(neighbors, gaussian_weights(distances, distances < distances.median() * 2))
    expected = laplacian_energy_reference(features, graph, attributes)
    want = torch.autograd.grad(expected, features)[0]
    with emulated(seed=channels):
        value = laplacian_energy(features, graph, attributes)
        gradient = torch.autograd.grad(value, features)[0]
    torch.testing.assert_close(value, expected, atol=0, rtol=1e-12)
    torch.testing.assert_close(gradient, want, atol=1e-15, rtol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("count", "k"), [(2, 1), (17, 16), (65, 64), (400, 1), (1500, 16), (300, 50)])
def test_nearest(emulated, count, k, dtype):
    points = cloud(count, dtype)
    with emulated(seed=k):
        got = nearest(points, k)
    assert all(torch.equal(a, b) for a, b in zip(got, by_brute_force(points, k), strict=True))


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(300, 3),
        (torch.arange(300)[:, None] % torch.tensor([5, 4, 3])).float(),
        torch.linspace(-1, 1, 300)[:, None] * torch.tensor([1.0, 0.0, 0.0]),
        cloud(300, torch.float32) * 1e-30,
        cloud(300, torch.float32) * 1e30,
        cloud(300, torch.float32) * 1e38,
    ],
    ids=["one place", "lattice", "line", "distances underflow", "distances overflow", "extent overflows"],
)
def test_nearest_ties_go_to_the_lower_index(emulated, points):
    with emulated():
        for given in (points, points.flip(0)):
            got = nearest(given, 16)
            assert all(torch.equal(a, b) for a, b in zip(got, by_brute_force(given, 16), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("count", "k"), [(1, 1), (16, 16), (1000, 50), (1500, 3)])
def test_nearest_of_queries(emulated, count, k, dtype):
    points = cloud(count, dtype)
    queries = torch.cat([cloud(150, dtype, seed=1), points[::7], cloud(10, dtype, seed=2) * 1e3])
    with emulated(seed=k):
        got = nearest(points, k, queries)
        none = nearest(points, k, queries[:0])
    assert all(torch.equal(a, b) for a, b in zip(got, of_queries_by_brute_force(points, k, queries), strict=True))
    assert [t.shape for t in none] == [(0, k), (0, k)]


def test_nearest_ties_of_queries_go_to_the_lower_index(emulated):
    points = (torch.arange(300)[:, None] % torch.tensor([5, 4, 3])).float()
    with emulated():
        for given in (points, points.flip(0), torch.zeros(300, 3), points * 1e30):
            queries = torch.cat([given, given + 0.5])
            got, want = nearest(given, 16, queries), of_queries_by_brute_force(given, 16, queries)
            assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_nearest_of_a_crowd_at_one_place_is_no_search_through_all(emulated):
    with emulated():
        index, _ = nearest(torch.ones(20_000, 3), 16)
    assert index[0].tolist() == list(range(1, 17)) and index[-1].tolist() == list(range(16))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_layers", [False, True])
@pytest.mark.parametrize("with_guide", [False, True])
def test_variation(emulated, dtype, with_layers, with_guide):
    depth, valid, layers, guide = maps()
    layers, guide = layers if with_layers else None, guide if with_guide else None
    scales = torch.rand(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = sums_in_torch(depth.requires_grad_(), valid, layers, guide, 0.1)
    want = torch.autograd.grad((expected * scales).sum(), depth)[0]
    leaf = depth.detach().to(dtype).requires_grad_()
    with emulated(seed=3):
        got = _ops.variation(leaf, valid, layers, None if guide is None else guide.to(dtype), 0.1)
        gradient = torch.autograd.grad((got * scales).sum(), leaf)[0]
    relative = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(got, expected, atol=0, rtol=relative)
    assert (gradient - want).norm() <= relative * want.norm()


def test_variation_gradcheck(emulated):
    depth, valid, layers, guide = (t[:, :5, :6].contiguous() for t in maps())
    with emulated():
        assert torch.autograd.gradcheck(lambda m: _ops.variation(m, valid, layers, guide, 0.1), depth.requires_grad_())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 3, 8])
def test_bumps(emulated, dtype, outputs):
    given = bumps(outputs=outputs)
    want, judge = all_of(in_torch, given), blended(*given)[1]
    with emulated(seed=3):
        got = all_of(blended, [t.to(dtype) for t in given])
        slopes = blended(*[t.to(dtype) for t in given])[1]
    relative = 1e-10 if dtype == torch.float64 else 2e-5
    for mine, other in zip((*got, slopes), (*want, judge), strict=True):
        assert (mine - other).norm() <= relative * other.norm()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("correction", ["none", "global", "rows", "on the device"])
def test_adam(emulated, dtype, correction):
    values, gradients, mean, square = adam_state((70, 3), dtype)
    visible = torch.arange(70) % 3 > 0
    lr, (beta1, beta2), eps = 0.01, (0.9, 0.999), 1e-15
    steps = {"none": None, "rows": torch.arange(1, 71)}.get(correction, torch.full((70,), 4))
    options = {"none": {}, "global": {"step": 4}, "rows": {"row_steps": torch.arange(1, 71).int()}}
    options["on the device"] = {"now": torch.tensor([lr, 1 - beta1**4, 1 - beta2**4], dtype=torch.float64)}
    before = [t.clone() for t in (values, mean, square)]
    doubles = [t.double() for t in (values, gradients, mean, square)]
    expected = moved_rows(*doubles, lr=lr, rows=visible, steps=steps)
    with emulated():
        _ops.adam(
            values,
            gradients,
            mean,
            square,
            lr=0.0 if correction == "on the device" else lr,
            betas=(beta1, beta2),
            eps=eps,
            visible=visible,
            **options[correction],
        )
    for got, old, new in zip((values, mean, square), before, expected, strict=True):
        torch.testing.assert_close(got[visible].double(), new[visible], atol=2e-6, rtol=1e-5)
        assert torch.equal(got[~visible], old[~visible])


def test_adam_is_torchs(emulated):
    values, gradients, *_ = adam_state((70, 3))
    theirs = values.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.02, eps=1e-15)
    mean, square = torch.zeros_like(values), torch.zeros_like(values)
    with emulated():
        for step in range(1, 5):
            theirs.grad = gradients * step
            optimizer.step()
            _ops.adam(values, gradients * step, mean, square, lr=0.02, betas=(0.9, 0.999), eps=1e-15, step=step)
    torch.testing.assert_close(values, theirs.detach(), atol=1e-13, rtol=1e-12)
    with pytest.raises(ValueError, match="values: expected a contiguous tensor"):
        _ops.adam(values.T, gradients.T, mean.T, square.T, lr=0.0, betas=(0.9, 0.999), eps=1e-15)


@pytest.mark.parametrize(("most", "moves"), [((5, 9), True), ((4, 9), False), ((5, 8), False)])
def test_adam_rests_where_a_drawing_had_too_little_memory(emulated, most, moves):
    values, gradients, mean, square = adam_state((70, 3), torch.float32)
    before = [t.clone() for t in (values, mean, square)]
    counts = torch.tensor([5, 9])
    with emulated():
        _ops.adam(values, gradients, mean, square, lr=0.1, betas=(0.9, 0.999), eps=1e-15, counts=counts, most=most)
    for after, old in zip((values, mean, square), before, strict=True):
        assert torch.equal(after, old) != moves


def test_selective_adam_is_the_cpus(emulated):
    from ..test_optim import SELECTIVE, optimizer_of, parameters, steps

    seen = [torch.arange(9) % 3 != number for number in range(3)]
    ours, theirs = parameters(), parameters()
    with emulated():
        steps(ours, optimizer_of(ours, SELECTIVE), seen)
    steps(theirs, optimizer_of(theirs, SELECTIVE), seen)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)
