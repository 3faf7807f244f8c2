"""Sums of bumps at points against plain torch."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.fields.bumps import EDGE, SHARP, heights

FAINT = 38.0


def bumps(points=70, count=37, latent=3, outputs=4):
    """Points, of which some lie far from all bumps, and bumps of several sizes and parts; weights last."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(points, 3, generator=generator, dtype=torch.float64)
    x[::9] += 40
    centers = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    parts = [0.5 * torch.randint(0, 3, (n, latent), generator=generator).double() for n in (points, count)]
    radii = 0.02 + 0.3 * torch.rand(count, generator=generator, dtype=torch.float64)
    weight = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
    return x, parts[0], centers, parts[1], radii, weight


def blended(x, latent, centers, latents, radii, weight):
    return _ops.bumps(x, latent, centers, latents, radii, weight, True, EDGE, SHARP, FAINT)


def in_torch(x, latent, centers, latents, radii, weight):
    return heights(x, latent, centers, latents, radii) @ weight


def all_of(function, given):
    """Values, and gradients of points and weights."""
    x, *rest, weight = given
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    values = function(x, *rest, weight)
    values = values[0] if isinstance(values, tuple) else values
    upstream = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return values.detach(), *torch.autograd.grad((values * upstream.to(values)).sum(), [x, weight])


@pytest.mark.parametrize("latent", [0, 3])
@pytest.mark.parametrize("outputs", [1, 3, 8])
def test_values_and_gradients(isa, latent, outputs):
    given = bumps(latent=latent, outputs=outputs)
    assert latent == 0 or (in_torch(*given)[1::9] != 0).any()
    for mine, judge in zip(all_of(blended, given), all_of(in_torch, given), strict=True):
        torch.testing.assert_close(mine, judge, atol=1e-12, rtol=1e-10)
    single = [t.float() for t in given]
    for mine, judge in zip(all_of(blended, single), all_of(in_torch, given), strict=True):
        assert (mine - judge).norm() <= 2e-5 * judge.norm()


def test_derivatives_are_those_of_the_values(isa):
    x, *rest = bumps()
    _, slopes = blended(x, *rest)
    wanted = torch.autograd.functional.jacobian(lambda x: in_torch(x, *rest).sum(0), x)  # [O, N, 3]
    torch.testing.assert_close(slopes, wanted.permute(2, 1, 0), atol=1e-10, rtol=1e-9)
    assert blended(x, *rest)[1].requires_grad is False


def test_gradcheck(isa):
    x, latent, centers, latents, radii, weight = bumps(points=6, count=9)

    def values(x, weight):
        return blended(x, latent, centers, latents, radii, weight)[0]

    assert torch.autograd.gradcheck(values, (x.requires_grad_(), weight.requires_grad_()))


def test_what_is_faint_counts_as_nothing(isa):
    x = torch.tensor([[0.0, 0, 0], [2.9, 0, 0], [3.1, 0, 0]])
    one = torch.zeros(1, 3), torch.zeros(1, 0), torch.ones(1), torch.ones(1, 1)
    centers, latents, radii, weight = one
    values, slopes = _ops.bumps(x, torch.zeros(3, 0), centers, latents, radii, weight, True, EDGE, SHARP, 4.5)
    assert values[:, 0].tolist() == pytest.approx([1, 0.01492, 0], abs=1e-5) and not slopes[:, 2].any()


def test_same_bits_for_any_number_of_threads(isa):
    given = [t.float() for t in bumps(points=5000, count=300)]
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(all_of(blended, given))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(("points", "count"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_do(isa, points, count):
    values, x, weight = all_of(blended, bumps(points=points, count=count))
    assert values.shape == (points, 4) and x.shape == (points, 3) and weight.shape == (count, 4)
    assert not values.any() and not x.any() and not weight.any()


def test_the_operator_has_a_fake():
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        shapes = [(5, 3), (5, 2), (7, 3), (7, 2), (7,), (7, 6)]
        values, slopes = blended(*[torch.empty(shape, requires_grad=shape == (5, 3)) for shape in shapes])
        assert values.shape == (5, 6) and slopes.shape == (3, 5, 6)
