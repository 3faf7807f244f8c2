"""The operators around the rasterizer: the CUDA kernels, emulated, against the CPU library and plain torch."""

from dataclasses import replace

import pytest
import torch

from gs_reg import _ops
from gs_reg._ops.adam import INPUTS
from gs_reg.neighbors import gaussian_weights, make_graph, nearest, roughness, roughness_reference
from gs_reg.ssim import l1_and_dssim, masked_mean, ssim_map

from ..ops.test_nearest import by_brute_force, cloud
from ..ops.test_variation import maps, sums_in_torch
from ..render.scenes import random_scene

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
    expected = roughness_reference(features, graph, attributes)
    want = torch.autograd.grad(expected, features)[0]
    with emulated(seed=channels):
        value = roughness(features, graph, attributes)
        gradient = torch.autograd.grad(value, features)[0]
    torch.testing.assert_close(value, expected, atol=0, rtol=1e-12)
    torch.testing.assert_close(gradient, want, atol=1e-15, rtol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("count", "k"), [(2, 1), (17, 16), (33, 32), (400, 1), (1500, 16)])
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


def adam_state(dtype, count=70, width=3):
    generator = torch.Generator().manual_seed(0)
    values, gradients, mean, square = (
        torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)
    )
    return values, gradients, mean, square.square()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("correction", ["none", "global", "rows", "on the device"])
def test_adam(emulated, dtype, correction):
    values, gradients, mean, square = adam_state(dtype)
    visible = torch.arange(70) % 3 > 0
    lr, (beta1, beta2), eps = 0.01, (0.9, 0.999), 1e-15
    steps = torch.arange(1, 71) if correction == "rows" else torch.tensor(4)
    options = {"none": {}, "global": {"step": 4}, "rows": {"row_steps": steps.int()}}
    options["on the device"] = {"now": torch.tensor([lr, 1 - beta1**4, 1 - beta2**4], dtype=torch.float64)}
    m, v, g = (t.double() for t in (mean, square, gradients))
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g.square()
    rest1, rest2 = ((1 - torch.tensor(b).double() ** steps).reshape(-1, 1) for b in (beta1, beta2))
    if correction == "none":
        rest1 = rest2 = torch.ones(1, 1)
    expected = values.double() - lr * (m / rest1) / ((v / rest2).sqrt() + eps)
    before = [t.clone() for t in (values, mean, square)]
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
    for got, old, new in zip((values, mean, square), before, (expected, m, v), strict=True):
        torch.testing.assert_close(got[visible].double(), new[visible], atol=2e-6, rtol=1e-5)
        assert torch.equal(got[~visible], old[~visible])


def test_adam_is_torchs(emulated):
    values, gradients, *_ = adam_state(torch.float64)
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
    values, gradients, mean, square = adam_state(torch.float32)
    before = [t.clone() for t in (values, mean, square)]
    counts = torch.tensor([5, 9])
    with emulated():
        _ops.adam(values, gradients, mean, square, lr=0.1, betas=(0.9, 0.999), eps=1e-15, counts=counts, most=most)
    for after, old in zip((values, mean, square), before, strict=True):
        assert torch.equal(after, old) != moves


def test_selective_adam_is_the_same_in_torch(emulated):
    from ..test_optim import optimizer_of, parameters, steps

    seen = [torch.arange(9) % 3 != number for number in range(3)]
    ours, theirs = parameters(), parameters()
    with emulated():
        steps(ours, optimizer_of(ours, True), seen)
    steps(theirs, optimizer_of(theirs, True), seen)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("in_logs", [False, True])
def test_project_adam_is_the_gradient_and_then_adam(emulated, in_logs):
    """Two cameras; Gaussians that neither sees rest."""
    splats, cameras = random_scene(count=60, width=29, height=31)
    drawn = {
        "means": splats.means.double(),
        "quats": splats.quats.double(),
        "scales": splats.log_scales.double().exp(),
        "opacities": splats.opacity_logits.double().sigmoid(),
        "viewmats": cameras.viewmats.double(),
        "Ks": cameras.Ks.double(),
    }
    drawn["means"][::4, 2] = -5.0  # behind both
    leaves = {name: drawn[name].clone().requires_grad_() for name in INPUTS}
    limits = (0.01, 1e10, 0.0, 0.3, 1 / 255, False, False)
    with emulated():
        outputs = _ops.project(*leaves.values(), None, drawn["viewmats"], drawn["Ks"], 29, 31, *limits)
    drawn["radii"] = outputs[5]
    generator = torch.Generator().manual_seed(3)
    names = ("means2d", "depths", "conics", "opacities2d")
    v = {n: torch.randn(o.shape, generator=generator).double() for n, o in zip(names, outputs, strict=False)}
    with emulated():
        given = torch.autograd.grad(outputs[:4], list(leaves.values()), list(v.values()))
    gradients = dict(zip(INPUTS, given, strict=True))
    values = {name: drawn[name].clone() for name in INPUTS}
    if in_logs:
        values["scales"], values["opacities"] = drawn["scales"].log(), drawn["opacities"].logit()
        gradients["scales"] = gradients["scales"] * drawn["scales"]
        gradients["opacities"] = gradients["opacities"] * drawn["opacities"] * (1 - drawn["opacities"])
    rates = dict(zip(INPUTS, (0.01, 0.02, 0.03, 0.04), strict=True))
    state = {n: [torch.rand(x.shape, generator=generator).double() for _ in range(2)] for n, x in values.items()}
    learned = {n: _ops.Learned(values[n].clone(), *[m.clone() for m in state[n]], rates[n]) for n in INPUTS}
    seen = (drawn["radii"] > 0).all(-1).any(0)
    assert 0 < seen.sum() < 60
    options = {"betas": (0.9, 0.999), "eps": 1e-15, "step": 3}
    with emulated():
        _ops.project_adam(learned, drawn, v, (29, 31), in_logs=in_logs, **options)
        for name in INPUTS:
            _ops.adam(values[name], gradients[name], *state[name], lr=rates[name], visible=seen, **options)
    for name, one in learned.items():
        for ours, theirs in zip((one.values, one.exp_avg, one.exp_avg_sq), (values[name], *state[name]), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    with emulated(), pytest.raises(ValueError, match="quats: values: expected a contiguous tensor"):
        bad = learned | {"quats": replace(learned["quats"], values=values["quats"].T)}
        _ops.project_adam(bad, drawn, v, (29, 31), **options)
    with emulated(), pytest.raises(RuntimeError, match="warps have no step of Adam"):
        _ops.project_adam(learned, drawn | {"warps": torch.zeros(60, 3, 3).double()}, v, (29, 31), **options)
