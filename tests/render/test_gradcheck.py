"""Finite differences through the float64 kernels with every cut-off off, so that the image is smooth."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.render import RenderConfig, render

from .scenes import leaves, random_scene, random_warps, rebuilt

SMOOTH = {"alpha_min": 0.0, "alpha_max": 1.0, "transmittance_min": 0.0}


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("camera_model", ["pinhole", "ortho"])
def test_gradcheck(mode, camera_model):
    splats, cameras = random_scene(count=6, width=11, height=9, cameras=2)
    splats = splats.rows(slice(None))
    splats.means[:, 2] += 2.0 - splats.means[:, 2].min()
    config = RenderConfig(mode=mode, camera_model=camera_model, **SMOOTH)
    leaf = leaves(splats, cameras)
    leaf["features"] = torch.rand(len(splats), 2, dtype=torch.float64, requires_grad=True)
    leaf["backgrounds"] = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)

    def draw(*values):
        given = dict(zip(leaf, values, strict=True))
        out = render(*rebuilt(given, cameras), config, features=given["features"], backgrounds=given["backgrounds"])
        return out.colors, out.alphas, out.depths, out.features

    # the bottom row of a viewmat is never read
    assert torch.autograd.gradcheck(draw, tuple(leaf.values()), eps=1e-6, atol=2e-6, rtol=1e-4)


def test_gradcheck_with_normal_cutoffs_away_from_them():
    # wide, faint splats: nowhere near 1/255 inside the image, the cap, or the cut
    splats, cameras = random_scene(count=4, width=8, height=8, cameras=1)
    splats.means[:] = torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64) + 0.1 * splats.means
    splats.log_scales[:] = 0.3
    splats.opacity_logits[:] = -1.0
    leaf = leaves(splats, cameras)

    def draw(*values):
        return render(*rebuilt(dict(zip(leaf, values, strict=True)), cameras)).colors

    assert torch.autograd.gradcheck(draw, tuple(leaf.values()), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_opcheck():
    splats, cameras = random_scene(count=20)
    ins = (splats.means, splats.quats, splats.scales, splats.opacities, random_warps(20), cameras.viewmats)
    *rows, warps, viewmats = [t.detach().requires_grad_() for t in ins]
    settings = (75, 64, 0.01, 1e10, 0.0, 0.3, 1 / 255, False, False)
    for given in (None, warps):
        torch.library.opcheck(_ops.project.library_op, (*rows, given, viewmats, cameras.Ks, *settings))
    projected = _ops.project(*rows, None, viewmats, cameras.Ks, *settings)
    means2d, depths, conics, opacities, shapes, radii, _ = projected
    features = torch.rand(2, 20, 3, dtype=torch.float64)
    tensors = [t.detach().requires_grad_() for t in (means2d, conics, opacities, features)]
    # state tensors have sizes that only the data knows, which opcheck's dynamic-shape test cannot follow
    torch.library.opcheck(
        _ops.rasterize.library_op,
        (*tensors, None, None, shapes.detach(), depths.detach(), radii, 75, 64, 1 / 255, 0.999, 1e-4),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
