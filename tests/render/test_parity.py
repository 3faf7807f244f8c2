"""Our kernels against the plain torch reference: images, gradients, tolerances of the kernel specification."""

from dataclasses import replace

import pytest
import torch

from gs_reg import _ops
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras
from tests.instruction_sets import ORDER, run_on

from .scenes import leaves, random_scene, rebuilt

PROJECTION = (0.01, 1e10, 0.0, 0.3, 1 / 255, False, False)


def drawn(backend, dtype, mode="classic", features=2, **options):
    """All outputs as one tensor, and the gradients of a random linear function of them."""
    splats, cameras = random_scene()
    leaf = {k: v.detach().to(dtype).requires_grad_() for k, v in leaves(splats, cameras).items()}
    generator = torch.Generator().manual_seed(5)
    leaf["features"] = (
        torch.rand(len(splats), features, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    )
    leaf["backgrounds"] = torch.rand(2, 3, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    config = RenderConfig(backend=backend, mode=mode, **options)
    out = render(*rebuilt(leaf, cameras), config, features=leaf["features"], backgrounds=leaf["backgrounds"])
    image = torch.cat([out.colors, out.alphas, out.depths, out.features], -1)
    upstream = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(dtype)
    gradients = torch.autograd.grad((image * upstream).sum(), list(leaf.values()))
    return out, image.detach(), dict(zip(leaf, gradients, strict=True))


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("camera_model", ["pinhole", "ortho"])
def test_float64_equals_reference(mode, camera_model):
    ours, image, gradients = drawn("native", torch.float64, mode, camera_model=camera_model)
    theirs, expected, expected_gradients = drawn("reference", torch.float64, mode, camera_model=camera_model)
    assert ours.visible.any() and not ours.visible.all()
    assert torch.equal(ours.radii, theirs.radii)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-12)
    for name, gradient in gradients.items():
        # gsplat's 1e-6 in the derivative of the compensation is the only difference
        limit = 1e-6 if mode == "antialiased" else 1e-11
        assert (gradient - expected_gradients[name]).norm() <= limit * expected_gradients[name].norm(), name


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
def test_float32_within_tolerances(mode):
    ours, image, gradients = drawn("native", torch.float32, mode)
    theirs, expected, expected_gradients = drawn("reference", torch.float64, mode)
    torch.testing.assert_close(ours.means2d.double(), theirs.means2d, rtol=2e-6, atol=1e-4)
    assert (image - expected).abs().max() <= 1e-5
    for name, gradient in gradients.items():
        limit = 2e-5 if name in ("features", "backgrounds", "opacity_logits") else 1e-4
        want = expected_gradients[name]
        assert (gradient.double() - want).norm() <= limit * want.norm(), name
        assert ((gradient - want).abs() <= 5e-4 * (want.abs() + want.square().mean().sqrt())).all(), name


@pytest.mark.parametrize("features", [0, 1, 4, 29])
def test_any_number_of_channels(features):
    _, image, gradients = drawn("native", torch.float64, features=features)
    _, expected, expected_gradients = drawn("reference", torch.float64, features=features)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("isa", ORDER)
def test_each_instruction_set(isa):
    code = (
        "import torch; from tests.render.test_parity import drawn\n"
        "for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 1e-5)):\n"
        "    a, b = drawn('native', dtype), drawn('reference', torch.float64)\n"
        "    assert (a[1] - b[1]).abs().max() < limit\n"
        "    assert all((a[2][k] - b[2][k]).norm() < 10 * limit * b[2][k].norm() for k in b[2])\n"
    )
    run_on(isa, code)


def test_same_bits_for_any_number_of_threads():
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(drawn("native", torch.float32))
    finally:
        torch.set_num_threads(before)
    for _, image, gradients in results[1:]:
        assert torch.equal(image, results[0][1])
        for name, gradient in gradients.items():
            if name != "backgrounds":  # a torch reduction, not ours
                assert torch.equal(gradient, results[0][2][name]), name


def test_same_bits_after_shuffling_splats():
    splats, cameras = random_scene()
    features = torch.rand(2, len(splats), 3)
    # the operators themselves: torch's exp and sigmoid round by position in the tensor
    rows = [t.float() for t in (splats.means, splats.quats, splats.scales, splats.opacities)]

    def draw(order):
        means2d, depths, conics, opacities, shapes, radii, _ = _ops.project(
            *[t[order] for t in rows], None, cameras.viewmats.float(), cameras.Ks.float(), 75, 64, *PROJECTION
        )
        return _ops.rasterize(
            means2d,
            conics,
            opacities,
            features[:, order],
            None,
            None,
            shapes,
            depths,
            radii,
            75,
            64,
            1 / 255,
            0.999,
            1e-4,
        )

    a, b = draw(torch.arange(len(splats))), draw(torch.randperm(len(splats)))
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_absolute_gradients_bound_the_plain_ones():
    splats, cameras = random_scene()
    leaf = leaves(splats, cameras)
    out = render(*rebuilt(leaf, cameras), RenderConfig(absgrad=True))
    out.means2d.retain_grad()
    torch.manual_seed(0)
    (out.colors * torch.randn_like(out.colors)).sum().backward()
    absolute = out.means2d.absgrad
    assert (absolute >= out.means2d.grad.abs() - 1e-12).all()
    # a single pixel is its own absolute sum
    one = Cameras(cameras.viewmats[:1], cameras.Ks[:1], 1, 1)
    leaf = leaves(splats, one)
    out = render(*rebuilt(leaf, one), RenderConfig(absgrad=True))
    out.means2d.retain_grad()
    out.colors.sum().backward()
    torch.testing.assert_close(out.means2d.absgrad, out.means2d.grad.abs())


def test_partial_gradients_and_strided_inputs():
    splats, cameras = random_scene()
    expected = render(splats, cameras).colors
    splats = replace(splats, means=splats.means.T.contiguous().T, sh=splats.sh.clone().requires_grad_())
    assert not splats.means.is_contiguous()
    out = render(splats, cameras).colors
    torch.testing.assert_close(out.detach(), expected, rtol=0, atol=1e-13)
    out.sum().backward()
    assert splats.sh.grad.abs().sum() > 0


@pytest.mark.parametrize("count", [1, 7, 63, 65])
def test_projected_rows_do_not_depend_on_the_rows_beside_them(count):
    splats, cameras = random_scene()
    rows = [t.float() for t in (splats.means, splats.quats, splats.scales, splats.opacities)]
    view = (cameras.viewmats.float(), cameras.Ks.float(), 75, 64)
    whole = _ops.project(*rows, None, *view, *PROJECTION)[:6]
    upstream = [torch.randn_like(t) for t in whole[:4]]
    part = _ops.project(*[t[:count] for t in rows], None, *view, *PROJECTION)[:6]
    assert all(torch.equal(a, b[:, :count]) for a, b in zip(part, whole, strict=True))

    def gradients(n):
        v_outs = [whole[5][:, :n].contiguous(), *[v[:, :n] for v in upstream]]
        settings = (75, 64, 0.3, False, False, True)
        return _ops.project_vjp(*[t[:n] for t in rows], None, *view[:2], *v_outs, *settings)[:4]

    assert all(torch.equal(a, b[:count]) for a, b in zip(gradients(count), gradients(len(splats)), strict=True))


def test_cameras_that_need_no_gradient_change_no_other():
    splats, cameras = random_scene()
    rows = [t.float() for t in (splats.means, splats.quats, splats.scales, splats.opacities)]
    view = (cameras.viewmats.float(), cameras.Ks.float())
    projected = _ops.project(*rows, None, *view, 75, 64, *PROJECTION)
    upstream = [torch.randn_like(t) for t in projected[:4]]

    def gradients(wanted):
        return _ops.project_vjp(*rows, None, *view, projected[5], *upstream, 75, 64, 0.3, False, False, wanted)

    every, few = gradients(True), gradients(False)
    assert all(torch.equal(a, b) for a, b in zip(every[:4], few[:4], strict=True))
    assert every[4].numel() == few[4].numel() == 0  # there are no warps
    assert every[5].shape == (2, 4, 4) and few[5].numel() == 0
