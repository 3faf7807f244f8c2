"""Linear maps of the shapes, covariance (W R S)(W R S)^T: by hand, by the reference, by finite differences."""

import math
from dataclasses import replace

import pytest
import torch

from gs_reg import _ops
from gs_reg.render import RenderConfig, render
from gs_reg.render.reference import project as reference_project
from gs_reg.types import Cameras
from tests.instruction_sets import ORDER, run_on

from .scenes import leaves, random_scene, random_warps, rebuilt

SMOOTH = {"alpha_min": 0.0, "alpha_max": 1.0, "transmittance_min": 0.0}
NAMES = ("means", "quats", "scales", "opacities", "warps", "viewmats")


def operands(count, dtype=torch.float64, warped=True):
    """What `_ops.project` takes up to the size, as leaves, and the scene's cameras."""
    splats, cameras = random_scene(count=count)
    warps = random_warps(count) if warped else None
    ins = (splats.means, splats.quats, splats.scales, splats.opacities, warps, cameras.viewmats)
    rows = [None if t is None else t.detach().to(dtype).requires_grad_() for t in ins]
    return (*rows, cameras.Ks.to(dtype)), cameras


def project(ins, antialiased=False, ortho=False, alpha_min=1 / 255):
    return _ops.project(*ins, 75, 64, 0.01, 1e10, 0.0, 0.3, alpha_min, antialiased, ortho)


def by_reference(ins, cameras, config):
    means, quats, scales, opacities, warps, viewmats, Ks = ins
    splats, _ = random_scene(count=len(means))
    splats = replace(splats, means=means, quats=quats, log_scales=scales.log(), opacity_logits=opacities.logit())
    own = Cameras(viewmats, Ks, cameras.width, cameras.height)
    p = reference_project(replace(splats, warps=warps), own, config)
    return p.means2d, p.depths, p.conics, p.opacities, p.radii


def pulled_back(outputs, leaf):
    generator = torch.Generator().manual_seed(3)
    upstream = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in outputs]
    return torch.autograd.grad(outputs, leaf, upstream)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("ortho", [False, True])
def test_float64_equals_the_reference(antialiased, ortho):
    ins, cameras = operands(150)
    config = RenderConfig(
        mode="antialiased" if antialiased else "classic", camera_model="ortho" if ortho else "pinhole"
    )
    means2d, depths, conics, opacities, _, radii, nonfinite = project(ins, antialiased, ortho)
    *want, want_radii = by_reference(ins, cameras, config)
    assert torch.equal(radii, want_radii) and (radii > 0).any() and nonfinite.item() == 0
    ours = (means2d, depths, conics, opacities)
    for a, b in zip(ours, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    # gsplat's 1e-6 in the derivative of the compensation is the only difference; it divides by a compensation that is
    # small where W flattens
    limit = 1e-4 if antialiased else 1e-9
    gradients = zip(NAMES, pulled_back(ours, ins[:6]), pulled_back(want, ins[:6]), strict=True)
    for name, a, b in gradients:
        assert b.abs().sum() > 0 and (a - b).norm() <= limit * b.norm(), name


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("ortho", [False, True])
def test_gradcheck(antialiased, ortho):
    ins, _ = operands(6)
    with torch.no_grad():
        ins[0][:, 2] += 2.0 - ins[0][:, 2].min()
        ins[4][2:4] = torch.eye(3) + 0.2  # a compensation of 0 has no derivative
    assert torch.autograd.gradcheck(
        lambda *leaf: project((*leaf, ins[6]), antialiased, ortho, alpha_min=0.0)[:4],
        ins[:6],
        eps=1e-6,
        atol=2e-6,
        rtol=1e-4,
    )


def test_gradcheck_of_the_image():
    splats, cameras = random_scene(count=6, width=11, height=9, cameras=2)
    splats = replace(splats, warps=random_warps(6))
    splats.means[:, 2] += 2.0 - splats.means[:, 2].min()
    leaf = leaves(splats, cameras)

    def draw(*values):
        out = render(*rebuilt(dict(zip(leaf, values, strict=True)), cameras), RenderConfig(**SMOOTH))
        return out.colors, out.depths

    assert torch.autograd.gradcheck(draw, tuple(leaf.values()), eps=1e-6, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "limit", "image_limit"), [(torch.float64, 1e-11, 1e-12), (torch.float32, 1e-4, 2e-5)]
)
def test_image_and_gradients_equal_the_reference(dtype, limit, image_limit):
    def drawn(backend, dtype):
        splats, cameras = random_scene()
        splats = replace(splats, warps=random_warps(len(splats)))
        leaf = {k: v.detach().to(dtype).requires_grad_() for k, v in leaves(splats, cameras).items()}
        out = render(*rebuilt(leaf, cameras), RenderConfig(backend=backend))
        image = torch.cat([out.colors, out.alphas, out.depths], -1)
        return image, dict(zip(leaf, pulled_back([image], list(leaf.values())), strict=True))

    (image, gradients), (want, want_gradients) = drawn("native", dtype), drawn("reference", torch.float64)
    assert (image - want).abs().max() <= image_limit  # depths, up to 5, are among its channels
    for name, gradient in gradients.items():
        assert (gradient - want_gradients[name]).norm() <= limit * want_gradients[name].norm(), name


def identity_changes_nothing(dtype):
    """Of the sign of a zero nothing is said: quaternions along the axes have many."""
    plain, _ = operands(150, dtype, warped=False)
    with torch.no_grad():
        plain[1][:4] = torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [-0.0, 0, -2, -0.0]])
    warps = torch.eye(3, dtype=dtype).repeat(150, 1, 1).requires_grad_()
    warped = (*plain[:4], warps, *plain[5:])
    for antialiased in (False, True):
        without, given = project(plain, antialiased), project(warped, antialiased)
        assert all(torch.equal(a, b) for a, b in zip(without, given, strict=True))
        leaf = [*plain[:4], plain[5]]
        pairs = zip(pulled_back(without[:4], leaf), pulled_back(given[:4], leaf), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("isa", ORDER)
def test_an_identity_gives_the_same_numbers(isa):
    code = (
        "import torch; from tests.render.test_warps import identity_changes_nothing\n"
        "identity_changes_nothing(torch.float32), identity_changes_nothing(torch.float64)\n"
    )
    run_on(isa, code)


def one(warp, quat=(1.0, 0, 0, 0), scale=(1.0, 0.5, 0.25)):
    """A Gaussian at depth 10 seen with a focal length of 100, orthographic: pixels are 100 a unit."""
    tensors = [torch.tensor(x, dtype=torch.float64) for x in ([[0, 0, 10.0]], [quat], [scale], [0.5], [warp])]
    K = torch.tensor([[[100.0, 0, 37], [0, 100, 32], [0, 0, 1]]], dtype=torch.float64)
    return (*tensors, torch.eye(4, dtype=torch.float64)[None], K)


def covariance(ins):
    a, b, c = project(ins, ortho=True)[2][0, 0].tolist()
    det = a * c - b * b
    return torch.tensor([c / det - 0.3, -b / det, a / det - 0.3], dtype=torch.float64)


def test_by_hand():
    # W = diag(2, 3, 1): variances (2 * 1)^2 and (3 * 0.5)^2, in square pixels of 100 a unit
    want = torch.tensor([4e4, 0, 2.25e4], dtype=torch.float64)
    torch.testing.assert_close(covariance(one([[2.0, 0, 0], [0, 3, 0], [0, 0, 1]])), want, rtol=1e-9, atol=1e-6)
    # a mirror is no different
    torch.testing.assert_close(covariance(one([[-2.0, 0, 0], [0, 3, 0], [0, 0, 1]])), want, rtol=1e-9, atol=1e-6)
    # a shear x += y: xx = 1 + 0.25, xy = 0.25
    want = torch.tensor([1.25e4, 0.25e4, 0.25e4], dtype=torch.float64)
    torch.testing.assert_close(covariance(one([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]])), want, rtol=1e-9, atol=1e-6)
    # W works on what R has turned: a quarter turn about z swaps the axes first, then x doubles
    turned = one([[2.0, 0, 0], [0, 1, 0], [0, 0, 1]], quat=(1.0, 0, 0, 1))
    torch.testing.assert_close(
        covariance(turned), torch.tensor([1e4, 0, 1e4], dtype=torch.float64), rtol=1e-9, atol=1e-6
    )


def test_a_zero_map_leaves_the_low_pass():
    ins = one([[0.0] * 3] * 3)
    torch.testing.assert_close(covariance(ins), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert project(ins, ortho=True)[5].tolist() == [[[2, 2]]]  # ceil(sqrt(2 ln(0.5 * 255) * 0.3)) = ceil(1.71)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nonfinite_maps_cull_their_row(value, dtype):
    ins, cameras = operands(40, dtype)
    with torch.no_grad():
        ins[4][7, 1, 2] = value
    seen = (project(operands(40, dtype)[0])[5] > 0).all(-1)
    outputs = project(ins)
    assert outputs[6].item() == 1 and seen[:, 7].any()
    seen[:, 7] = False
    assert torch.equal((outputs[5] > 0).all(-1), seen)
    assert all(torch.isfinite(t).all() and not t[:, 7].any() for t in outputs[:6])
    gradients = pulled_back(outputs[:4], ins[:6])
    assert all(torch.isfinite(g).all() for g in gradients) and not gradients[4][7].any()
    radii = by_reference([t.double() for t in ins], cameras, RenderConfig())[4]
    assert torch.equal(radii[:, 7], torch.zeros(2, 2, dtype=torch.int32))


def test_shape_and_type_are_checked():
    splats, cameras = random_scene(count=5)
    flat = replace(splats)
    object.__setattr__(flat, "warps", torch.zeros(5, 9, dtype=torch.float64))  # past the type checker of the tests
    with pytest.raises(ValueError, match=r"warps: expected \[5, 3, 3\], got \[5, 9\]"):
        render(flat, cameras)
    with pytest.raises(TypeError, match="warps: expected the dtype of means"):
        render(replace(splats, warps=torch.zeros(5, 3, 3)), cameras)
