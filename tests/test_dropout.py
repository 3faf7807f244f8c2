"""Left-out Gaussians: which, how many, and what their mean is."""

import pytest
import torch

from gs_reg.dropout import baked, dropped
from gs_reg.fit import FitConfig
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats


def dots(count, opacity=0.6):
    return Splats(
        torch.tensor([0.0, 0.0, 2.0]).repeat(count, 1),
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count, 3), -2.0),
        torch.full((count,), opacity).logit(),
        torch.ones(count, 1, 3),
    )


def test_nothing_happens_at_a_share_of_0():
    splats = dots(3)
    assert dropped(splats, 0.0, 5, 1) is splats and baked(splats, 0.0) is splats


def test_step_and_seed_decide_who_is_left_out():
    splats = dots(4000)
    gone = [dropped(splats, 0.2, *key).opacities < 1e-9 for key in ((3, 0), (3, 0), (4, 0), (3, 1))]
    assert torch.equal(gone[0], gone[1])
    assert not torch.equal(gone[0], gone[2]) and not torch.equal(gone[0], gone[3])
    assert all(float(g.float().mean()) == pytest.approx(0.2, abs=0.03) for g in gone)


def test_the_mean_of_many_renders_of_one_gaussian_is_the_render_of_the_baked_one():
    camera = Cameras(torch.eye(4)[None], torch.tensor([[[20.0, 0, 8], [0, 20, 8], [0, 0, 1]]]), 16, 16)
    exact = RenderConfig(alpha_min=0.0, transmittance_min=0.0)
    splats = dots(1)
    many = [render(dropped(splats, 0.25, step, 0), camera, exact).colors for step in range(2000)]
    torch.testing.assert_close(
        torch.stack(many).mean(0), render(baked(splats, 0.25), camera, exact).colors, rtol=0.05, atol=1e-4
    )


def test_what_is_left_out_gets_no_gradient():
    splats = dots(50)
    logits = splats.opacity_logits.clone().requires_grad_()
    kept = dropped(Splats(splats.means, splats.quats, splats.log_scales, logits, splats.sh), 0.5, 0, 0)
    kept.opacities.sum().backward()
    assert torch.equal(logits.grad == 0, kept.opacities < 1e-9)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="dropout"):
        FitConfig(dropout=share)
