"""Inputs at the edge, each with its result from the table of the kernel specification."""

import math
from dataclasses import replace

import pytest
import torch

from gs_reg import _ops
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats

from .scenes import leaves, random_scene, rebuilt


def one_splat(count=1, z=4.0, scale=0.2, opacity=0.5, quat=(1.0, 0, 0, 0), xy=(0.0, 0.0), dtype=torch.float32):
    return Splats(
        torch.tensor([[*xy, z]], dtype=dtype).repeat(count, 1),
        torch.tensor([quat], dtype=dtype).repeat(count, 1),
        torch.full((count, 3), scale, dtype=dtype).log(),
        torch.full((count,), opacity, dtype=dtype).logit(),
        torch.full((count, 1, 3), 1.0, dtype=dtype),
    )


def camera(width=33, height=20, focal=30.0, dtype=torch.float32):
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=dtype)
    return Cameras(torch.eye(4, dtype=dtype)[None], K[None], width, height)


def project(means, quats, scales, opacities, cam=None, near=0.01, antialiased=False, ortho=False):
    cam = cam or camera()
    tensors = [torch.tensor(x, dtype=torch.float32) for x in (means, quats, scales, opacities)]
    return _ops.project(
        *tensors, None, cam.viewmats, cam.Ks, cam.width, cam.height, near, 1e10, 0.0, 0.3, 1 / 255, antialiased, ortho
    )


def test_nothing_to_draw():
    for cam in (camera(), camera(1, 1), camera(0, 0), Cameras(torch.zeros(0, 4, 4), torch.zeros(0, 3, 3), 8, 8)):
        empty = one_splat(0)
        background = torch.rand(len(cam), 3)
        out = render(empty, cam, backgrounds=background)
        assert out.colors.shape == (len(cam), cam.height, cam.width, 3) and out.means2d.shape == (len(cam), 0, 2)
        assert torch.equal(out.colors, background[:, None, None].expand_as(out.colors))
        assert not out.alphas.any() and not out.depths.any()


def test_everything_culled_gives_zero_gradients():
    splats, cam = one_splat(3, z=-1.0), camera()
    leaf = leaves(splats, cam)
    out = render(*rebuilt(leaf, cam))
    assert not out.visible.any() and not out.alphas.any()
    out.colors.sum().backward()
    assert all(not tensor.grad.any() for tensor in leaf.values())


def test_zero_quaternion_and_nonfinite_rows_are_culled_and_counted():
    rows = 6
    means = [[0, 0, 4.0]] * rows
    means[1] = [math.nan, 0, 4]
    quats = [[1.0, 0, 0, 0]] * rows
    quats[2] = [0.0, 0, 0, 0]
    scales = [[0.2] * 3] * rows
    scales[3] = [math.inf, 0.1, 0.1]
    opacities = [0.5, 0.5, 0.5, 0.5, math.nan, 0.5]
    *_, radii, nonfinite = project(means, quats, scales, opacities)
    assert (radii[0, :, 0] > 0).tolist() == [True, False, False, False, False, True]
    assert nonfinite.item() == 4


@pytest.mark.parametrize("scales", [[0, 0.1, 0.1], [0, 0, 0.1], [0, 0, 0], [1e-20] * 3])
def test_flat_and_tiny_splats_have_the_size_of_the_low_pass(scales):
    *_, conics, _opacity, _shapes, radii, _ = project([[0, 0, 4.0]], [[1.0, 0, 0, 0]], [scales], [0.5])
    assert (radii > 0).all() and torch.isfinite(conics).all()


def test_negative_scale_counts_as_its_absolute_value():
    for a, b in zip(
        project([[0.1, 0, 4.0]], [[1.0, 0.3, 0, 0.2]], [[0.3, 0.1, 0.2]], [0.5]),
        project([[0.1, 0, 4.0]], [[1.0, 0.3, 0, 0.2]], [[-0.3, 0.1, -0.2]], [0.5]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scale", [1e3, 1e10, 1e15])
def test_huge_splats_cover_the_image_without_overflow(scale):
    splats, cam = one_splat(scale=scale), camera()
    leaf = leaves(splats, cam)
    out = render(*rebuilt(leaf, cam))
    torch.testing.assert_close(out.alphas, torch.full_like(out.alphas, 0.5))
    out.colors.sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in leaf.values())


def test_opacity_at_the_threshold():
    below, at, kept = 1 / 255 - 1e-6, 1 / 255 + 1e-6, 1.0
    opacities = [0.0, below, at, kept, 1.5, -0.1]
    n = len(opacities)
    _, _, _, opacities2d, _, radii, _ = project([[0, 0, 4.0]] * n, [[1.0, 0, 0, 0]] * n, [[0.2] * 3] * n, opacities)
    assert (radii[0, :, 0] > 0).tolist() == [False, False, True, True, True, False]
    assert opacities2d[0, 4] == 1.0


def test_near_plane():
    z = [0.5, 0.5 - 1e-6, -3.0, 0.0]
    n = len(z)
    rows = ([[0, 0, v] for v in z], [[1.0, 0, 0, 0]] * n, [[0.02] * 3] * n, [0.5] * n)
    assert (project(*rows, near=0.5)[5][0, :, 0] > 0).tolist() == [True, False, False, False]
    assert not (project(*rows, near=0.0)[5][0, 3] > 0).any()


@pytest.mark.parametrize("count", [2, 5])
def test_equal_depths_blend_in_index_order(count):
    splats = one_splat(count, opacity=0.9)
    splats.sh[:, 0] = torch.linspace(-1, 1, count)[:, None]
    ours, theirs = render(splats, camera()), render(splats, camera(), RenderConfig(backend="reference"))
    torch.testing.assert_close(ours.colors, theirs.colors, rtol=0, atol=1e-6)
    assert ours.colors[0, 10, 16, 0] < 0.5  # the first is dark and in front


@pytest.mark.parametrize(
    "xy", [(0.0, 0.0), (-16.5 / 30 * 4, 0.0), (-0.5 / 30 * 4, 6.0 / 30 * 4), (16.5 / 30 * 4, 10 / 30 * 4)]
)
@pytest.mark.parametrize("size", [(33, 20), (16, 16), (1, 1), (17, 31)])
def test_borders_of_tiles_and_image(xy, size):
    splats, cam = one_splat(xy=xy), camera(*size)
    ours, theirs = render(splats, cam), render(splats, cam, RenderConfig(backend="reference"))
    torch.testing.assert_close(ours.colors, theirs.colors, rtol=0, atol=2e-6)


def test_ten_thousand_splats_on_one_pixel():
    generator = torch.Generator().manual_seed(0)
    splats = one_splat(10_000, opacity=0.02, scale=0.01)
    splats.means[:, 2] += torch.rand(10_000, generator=generator)
    splats.sh[:] = torch.randn(10_000, 1, 3, generator=generator)
    cam = camera(8, 8)
    ours = render(splats, cam)
    theirs = render(splats.to(dtype=torch.float64), cam.to(dtype=torch.float64), RenderConfig(backend="reference"))
    torch.testing.assert_close(ours.colors.double(), theirs.colors, rtol=0, atol=1e-4)


def test_degree_zero_alone_at_the_camera_centre_of_an_orthographic_view():
    splats = one_splat(z=0.0)
    splats = Splats(splats.means, splats.quats, splats.log_scales, splats.opacity_logits, torch.ones(1, 4, 3))
    out = render(splats, camera(), RenderConfig(camera_model="ortho", near=-1.0))
    middle = out.colors[0, 10, 16] / out.alphas[0, 10, 16]
    torch.testing.assert_close(middle, torch.full((3,), 0.5 + 0.28209479177387814))


def test_non_rigid_and_singular_viewmats():
    splats, cam = one_splat(), camera()
    sheared = cam.viewmats.clone()
    sheared[0, 0, 1] = 0.7
    ours, theirs = (
        render(splats, Cameras(sheared, cam.Ks, 33, 20), RenderConfig(backend=b)) for b in ("native", "reference")
    )
    torch.testing.assert_close(ours.colors, theirs.colors, rtol=0, atol=2e-6)


def test_wrong_inputs_have_clear_errors():
    splats, cam = random_scene(count=4)
    with pytest.raises(TypeError, match=r"means: expected the dtype of means, float32 or float64, got torch\.float16"):
        render(splats.to(dtype=torch.float16), cam.to(dtype=torch.float16))
    with pytest.raises(TypeError, match="viewmats: expected the dtype of means"):
        render(splats, cam.to(dtype=torch.float32))
    with pytest.raises(ValueError, match="Ks: fx or fy is 0"):
        render(splats, Cameras(cam.viewmats, torch.zeros_like(cam.Ks), 8, 8))
    with pytest.raises(ValueError, match="not finite"):
        render(splats, Cameras(cam.viewmats * math.nan, cam.Ks, 8, 8))
    with pytest.raises(ValueError, match="alpha_max"):
        RenderConfig(alpha_max=1.0)
    with pytest.raises(ValueError, match="sh_degree: expected at most 1"):
        render(splats, cam, RenderConfig(sh_degree=2))


WRONG = [
    ("near", math.nan, "a number from -1e+30 to 1e+30"),
    ("near", -math.inf, "a number"),
    ("far", 0.01, "more than near, 0.01"),
    ("far", math.nan, "a number"),
    ("radius_clip", -1.0, "a number from 0"),
    ("radius_clip", math.nan, "a number from 0"),
    ("eps2d", -0.1, "a number from 0 to 1e+06"),
    ("eps2d", 1e30, "a number from 0 to 1e+06"),
    ("eps2d", math.inf, "a number"),
    ("alpha_min", -1e-9, "a number from 0 to 1"),
    ("alpha_min", math.nan, "a number from 0 to 1"),
    ("alpha_min", 0.9995, "at most alpha_max, 0.999"),
    ("alpha_max", 0.0, "a number from 1e-06 to 1"),
    ("alpha_max", 1.5, "a number"),
    ("transmittance_min", -0.1, "a number from 0 to 1"),
    ("transmittance_min", 1.1, "a number"),
    ("sh_degree", -1, "a whole number from 0 to 4"),
    ("sh_degree", 5, "a whole number from 0 to 4"),
    ("supersample", 0, "a whole number from 1 to 64"),
    ("supersample", -2, "a whole number"),
]


@pytest.mark.parametrize(("name", "value", "right"), WRONG)
def test_settings_out_of_bounds_are_refused_by_name(name, value, right):
    with pytest.raises(ValueError) as caught:
        RenderConfig(**{name: value})
    text = str(caught.value)
    assert text.startswith(f"{name}: expected {right}") and text.endswith(f"got {value!r}")


@pytest.mark.parametrize(("name", "size"), [("width", -1), ("height", -64), ("width", 1 << 21)])
def test_sizes_out_of_bounds_are_refused_by_name(name, size):
    splats, cam = random_scene(count=4)
    with pytest.raises(ValueError, match=rf"{name}: expected 0 to 1048576 pixels, got {size}"):
        render(splats, replace(cam, **{name: size}))


@pytest.mark.parametrize("count", [0, 2, 3, 8])
def test_coefficients_that_are_no_square_are_refused(count):
    splats, cam = random_scene(count=4)
    for backend in ("native", "reference"):
        with pytest.raises(ValueError, match=rf"sh: expected .*got \[N, {count}, D\]"):
            render(
                replace(splats, sh=torch.zeros(4, count, 3, dtype=torch.float64)), cam, RenderConfig(backend=backend)
            )


def test_gsplat_backend_without_cuda_says_what_to_do():
    from gs_reg.errors import MissingPart

    splats, cam = random_scene(count=4)
    with pytest.raises(MissingPart, match="CUDA"):
        render(splats.to(dtype=torch.float32), cam.to(dtype=torch.float32), RenderConfig(backend="gsplat"))
